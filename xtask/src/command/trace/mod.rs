//! `cargo xtask trace`: boot, and explain where the time went.

mod analysis;
mod boot_text;
mod clock;
mod diff;
mod flame;
mod names;
mod perfetto;
mod phases;
mod pie;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use jiffy::trace::raw::{SCHEMA, Trace};

use crate::base::failure::{fault, usage};
use crate::base::files::make_dir;
use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::command::boot::{self, BootOptions};
use crate::guest::userland;
use analysis::Analysis;
use names::Names;

/// The output's format.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Phases, initcalls, functions and exits as text
    Table,
    /// The same as JSON
    Json,
    /// A flame graph as SVG
    Flamegraph,
    /// A time line of phases, initcalls, exits and samples, for ui.perfetto.dev or chrome://tracing
    Perfetto,
    /// A pie chart of memory setup, VM setup and boot, as SVG
    Pie,
}

const EXAMPLES: &str = "\
Times exclude sampling. In the lab they are lab time, which is repeatable; on a KVM without the
processor's help they are emulated, so compare instructions there.

Examples:
  cargo xtask trace
  cargo xtask trace --runs 20 --format flamegraph -o boot.svg
  cargo xtask trace --profile min --save min && cargo xtask trace --profile default --against min
  cargo xtask trace --kernel /boot/vmlinuz --on lab --timeout 300";

/// What to boot, how to look at it, and what to show of it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TraceOptions {
    #[command(flatten)]
    boot: BootOptions,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write it to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Samples per second of the guest's time
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    sample_hz: u32,
    /// An ELF file with symbols for user code, such as the program; may be repeated
    #[arg(long, value_name = "FILE")]
    symbols: Vec<PathBuf>,
    /// Show the kernel's log, read from guest memory; our kernels keep all of it with --cmdline boot_loglevel=7
    #[arg(long)]
    dmesg: bool,
    /// List the functions that a boot in the lab needs, for X86_SPLIT_TEXT of our kernels
    #[arg(long)]
    boot_text: bool,
    /// Save the result under this name
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Show what changed since the result saved under this name
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Compare two results of --format json, without booting
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"])]
    diff: Option<Vec<PathBuf>>,
}

/// Runs the command. A guest that failed is traced too, and gives its status.
pub(crate) fn run(layout: &Layout, options: &TraceOptions) -> Result<ExitCode> {
    if let Some([before, after]) = options.diff.as_deref() {
        let text = diff::render(&saved(before)?, &saved(after)?);
        show(options, &text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let baseline = match &options.against {
        Some(name) => Some(saved(&baseline(layout, name)?)?),
        None => None,
    };
    let scratch = tempfile::tempdir().context("making a directory for the trace")?;
    let file = scratch.path().join("trace");
    let ui = Ui::new(options.boot.quiet());
    if options.boot_text {
        let booted = boot::logged(layout, &ui, &options.boot, &file)?;
        show(options, &boot_text::list(&booted.kernel, &file)?)?;
        return Ok(ExitCode::from(booted.status));
    }
    let booted = boot::trace(layout, &ui, &options.boot, options.sample_hz, &file)?;
    let traces = read(&file)?;
    let pid1 = match options.boot.has_own_pid1() {
        true => Some(userland::init_symbols(layout)?),
        false => None,
    };
    let names = Names::load(&booted.kernel, pid1.as_deref(), &options.symbols)?;
    if !names.kernel_has_symbols() {
        ui.say("this kernel has no symbols, so functions are shown as addresses");
    }
    let analysis = Analysis::of(&traces, &names);
    if let Some(name) = &options.save {
        let path = baseline_path(layout, name)?;
        make_dir(path.parent().context("a baseline has a directory")?)?;
        fs::write(&path, serde_json::to_string(&analysis)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let text = match (&baseline, options.dmesg) {
        (Some(before), _) => diff::render(before, &analysis),
        (None, true) => traces
            .iter()
            .take(1)
            .flat_map(|trace| &trace.log)
            .map(|line| format!("{line}\n"))
            .collect(),
        (None, false) => render(options, &traces, &names, &analysis)?,
    };
    show(options, &text)?;
    Ok(ExitCode::from(booted.status))
}

fn render(
    options: &TraceOptions,
    traces: &[Trace],
    names: &Names,
    analysis: &Analysis,
) -> Result<String> {
    let format = if options.boot.json() {
        Format::Json
    } else {
        options.format
    };
    Ok(match format {
        Format::Table => table::render(analysis),
        Format::Json => serde_json::to_string(analysis)?,
        Format::Flamegraph => flame::render(traces, names, analysis)?,
        Format::Perfetto => perfetto::render(&traces[0], names),
        Format::Pie => pie::render(&traces[0].report.us),
    })
}

fn show(options: &TraceOptions, text: &str) -> Result<()> {
    match &options.output {
        Some(file) => fs::write(file, text).with_context(|| format!("writing {}", file.display())),
        None => print(text.trim_end()),
    }
}

/// Reads what the runner wrote: a line for each run.
fn read(file: &Path) -> Result<Vec<Trace>> {
    let text = fs::read_to_string(file).context("the runner wrote no trace")?;
    let traces = text
        .lines()
        .map(|line| serde_json::from_str(line).context("reading the runner's trace"))
        .collect::<Result<Vec<Trace>>>()?;
    match traces.first() {
        None => Err(fault("the runner wrote an empty trace; did it run?")),
        Some(first) if first.schema != SCHEMA => {
            Err(fault("the runner's trace is of another version"))
        }
        Some(_) => Ok(traces),
    }
}

fn saved(path: &Path) -> Result<Analysis> {
    let text =
        fs::read_to_string(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| {
        usage(format!(
            "{} is no result of `cargo xtask trace --format json`: {error}",
            path.display()
        ))
    })
}

fn baseline_path(layout: &Layout, name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(usage(format!(
            "{name:?}: name a baseline with letters, digits, `-`, `_` and `.`"
        )));
    }
    Ok(layout.artefacts("traces").join(format!("{name}.json")))
}

fn baseline(layout: &Layout, name: &str) -> Result<PathBuf> {
    let path = baseline_path(layout, name)?;
    if !path.exists() {
        return Err(usage(format!(
            "there is no baseline {name}; make it with --save {name}"
        )));
    }
    Ok(path)
}
