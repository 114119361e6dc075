//! The runner's start against the floor's: from fork to a guest's first byte, and to the exit.
//!
//! Both run a guest of two instructions that matter, with 128 MiB, in turns; the stopwatch does the timing, here or in
//! the lab.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use super::BenchOptions;
use crate::boot;
use crate::cache::Cache;
use crate::failure::fault;
use crate::install::{self, Need};
use crate::lab::{self, Job};
use crate::layout::Layout;
use crate::payload::read;
use crate::ui::{Ui, print};
use crate::userland;

/// What is timed, in the stopwatch's order.
const NAMES: [&str; 2] = ["floor", "jiffy"];

/// The guest's memory in MiB, which is the floor's and the runner's default.
const MEMORY_MIB: u64 = 128;

/// A run takes milliseconds; this is for all of them, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A line of the stopwatch.
#[derive(Deserialize)]
struct Line {
    command: usize,
    first_us: f64,
    exit_us: f64,
}

/// Runs of one command, by their middle and their 90th percentile.
#[derive(Serialize)]
struct Spread {
    p50: f64,
    p90: f64,
}

/// What became of one command, in microseconds.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    first_us: Spread,
    exit_us: Spread,
}

/// The result.
#[derive(Serialize)]
struct Report {
    schema: u32,
    suite: &'static str,
    kvm: String,
    memory_mib: u64,
    runs: u32,
    rows: Vec<Row>,
    /// The runner's medians over the floor's.
    ratio: Ratio,
}

#[derive(Serialize)]
struct Ratio {
    first: f64,
    exit: f64,
}

/// Measures and prints.
pub(super) fn run(layout: &Layout, options: &BenchOptions) -> Result<()> {
    let ui = Ui::new(options.build.quiet);
    let kvm = boot::measured_on(layout, options.on)?;
    let said = match kvm.as_str() {
        boot::LAB => in_lab(layout, &ui, options)?,
        "none" => {
            return Err(fault(
                "this machine's KVM cannot be used; `--on lab` needs none",
            ));
        }
        _ => here(layout, options.runs)?,
    };
    let report = report(&said, kvm, options.runs)?;
    print(&if options.build.json {
        serde_json::to_string(&report)?
    } else {
        table(&report)
    })
}

/// The stopwatch's arguments for programs and a kernel at these paths.
fn arguments(runs: u32, floor: &Path, runner: &Path, kernel: &Path) -> Vec<OsString> {
    let runs = OsString::from(runs.to_string());
    let word = OsString::from;
    [runs, floor.into(), word("--"), runner.into()]
        .into_iter()
        .chain(["run", "--quiet", "--ready-fd", "1", "--kernel"].map(word))
        .chain([kernel.into()])
        .collect()
}

fn here(layout: &Layout, runs: u32) -> Result<String> {
    let stopwatch = userland::stopwatch(layout)?;
    let (floor, runner, kernel) = (
        userland::floor(layout)?,
        userland::runner(layout)?,
        userland::flat(layout)?,
    );
    let arguments = arguments(runs, &floor, &runner, &kernel);
    let sh = Shell::new()?;
    let mut command: Command = cmd!(sh, "{stopwatch} {arguments...}").quiet().into();
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", stopwatch.display()))?;
    ensure!(output.status.success(), "the stopwatch failed");
    String::from_utf8(output.stdout).context("reading the stopwatch")
}

fn in_lab(layout: &Layout, ui: &Ui, options: &BenchOptions) -> Result<String> {
    install::ensure(ui, &[Need::Build, Need::Qemu], &[], options.build.install)?;
    let files = [
        ("lab/floor", userland::floor(layout)?),
        ("lab/jiffy", userland::runner(layout)?),
        ("lab/vmlinux", userland::flat(layout)?),
    ];
    let [floor, runner, kernel] = files.each_ref().map(|(name, _)| Path::new("/").join(name));
    let job = Job {
        program: userland::stopwatch(layout)?,
        arguments: arguments(options.runs, &floor, &runner, &kernel),
        files: files
            .iter()
            .map(|(name, path)| Ok(((*name).to_owned(), read(path)?)))
            .collect::<Result<_>>()?,
        devices: Vec::new(),
        memory_mib: MEMORY_MIB,
        timeout: TIMEOUT,
        stdout: Box::new(io::sink()),
    };
    lab::printed(layout, ui, &Cache::open()?, &options.build, job)
}

fn report(said: &str, kvm: String, runs: u32) -> Result<Report> {
    let lines = said
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading {line:?}")))
        .collect::<Result<Vec<Line>>>()?;
    let rows = NAMES.iter().enumerate().map(|(number, name)| {
        let ours = || lines.iter().filter(move |line| line.command == number);
        ensure!(
            ours().count() == runs as usize,
            "{name} ran {} times instead of {runs}",
            ours().count()
        );
        Ok(Row {
            name,
            first_us: spread(ours().map(|line| line.first_us)),
            exit_us: spread(ours().map(|line| line.exit_us)),
        })
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let ratio = Ratio {
        first: rows[1].first_us.p50 / rows[0].first_us.p50,
        exit: rows[1].exit_us.p50 / rows[0].exit_us.p50,
    };
    Ok(Report {
        schema: 1,
        suite: "floor",
        kvm,
        memory_mib: MEMORY_MIB,
        runs,
        rows,
        ratio,
    })
}

/// Percentiles by the nearest rank.
fn spread(values: impl Iterator<Item = f64>) -> Spread {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
    Spread {
        p50: rank(50),
        p90: rank(90),
    }
}

fn table(report: &Report) -> String {
    let unit = if report.kvm == "lab" { "lab ms" } else { "ms" };
    let mut lines = vec![
        format!(
            "| flat guest, {} MiB, {} KVM, median (90th percentile) of {}, {unit} | fork to first byte | fork to exit |",
            report.memory_mib, report.kvm, report.runs
        ),
        "|---|---|---|".to_owned(),
    ];
    let shown = |Spread { p50, p90 }: &Spread| format!("{:.2} ({:.2})", p50 / 1e3, p90 / 1e3);
    lines.extend(report.rows.iter().map(|row| {
        let (first, exit) = (shown(&row.first_us), shown(&row.exit_us));
        format!("| {} | {first} | {exit} |", row.name)
    }));
    let Ratio { first, exit } = report.ratio;
    lines.push(format!("| ratio of medians | {first:.2} | {exit:.2} |"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn runs_become_a_table() {
        let said = r#"{"command":0,"first_us":400,"exit_us":800}
{"command":1,"first_us":480,"exit_us":1000}
{"command":0,"first_us":600,"exit_us":900}
{"command":1,"first_us":720.5,"exit_us":1200}
"#;
        let report = report(said, "lab".to_owned(), 2).unwrap();
        expect![[r#"
            | flat guest, 128 MiB, lab KVM, median (90th percentile) of 2, lab ms | fork to first byte | fork to exit |
            |---|---|---|
            | floor | 0.40 (0.60) | 0.80 (0.90) |
            | jiffy | 0.48 (0.72) | 1.00 (1.20) |
            | ratio of medians | 1.20 | 1.25 |"#]]
        .assert_eq(&table(&report));
    }

    #[test]
    fn a_missing_run_is_an_error() {
        let said = r#"{"command":0,"first_us":400,"exit_us":800}"#;
        assert!(report(said, "lab".to_owned(), 1).is_err());
        assert!(report("nonsense", "lab".to_owned(), 1).is_err());
    }
}
