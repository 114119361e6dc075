//! Traces of real boots: names, sums, flame graphs and differences, for our kernels, a slowed one, one that panics, and
//! a distribution's.

mod changes;
mod flame;
pub(super) mod run;

use anyhow::{Context as _, Result, ensure};

use self::changes::{baseline, diff};
use self::flame::{browser, flamegraph, no_browser};
use self::run::{explained, inclusive, trace};
use super::check::{Check, Context};
use super::foreign;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("trace/lab/default", |context| {
            explained(context, "default", &["--on", "lab"]).map(|_| ())
        }),
        Check::new("trace/host/min", host).on_kvm(),
        Check::new("trace/flamegraph", flamegraph),
        Check::new("trace/browser", browser).unless(no_browser()),
        Check::new("trace/diff", diff),
        Check::new("trace/baseline", baseline),
        Check::new("trace/panic", panic),
        Check::new("trace/dmesg", dmesg),
        Check::new("trace/debian", debian).unless(foreign::not_debian()),
    ]
}

fn host(context: &Context<'_>) -> Result<()> {
    let result = explained(context, "min", &["--on", "host"])?;
    if result["clock"] == "emulated" {
        let phases = result["phases"].as_array().context("no phases")?;
        let sum: u64 = phases
            .iter()
            .filter_map(|phase| phase["instructions"].as_u64())
            .sum();
        ensure!(sum > 1_000_000, "{sum} guest instructions in all phases");
    } else {
        ensure!(result["clock"] == "tsc", "{}", result["clock"]);
    }
    Ok(())
}

/// A guest that panics still has a trace up to then, and its diagnosis shows the panic.
fn panic(context: &Context<'_>) -> Result<()> {
    let options = [
        "--on",
        "lab",
        "--cmdline",
        "rdinit=/none",
        "--format",
        "json",
    ];
    let ran = trace(context, "min", &options)?.run(context)?;
    let result = ran.ended_with(125)?.json()?;
    ensure!(result["outcome"] == "panicked", "{}", result["outcome"]);
    ensure!(
        result["diagnosis"].to_string().contains("Kernel panic"),
        "{}",
        result["diagnosis"]
    );
    inclusive(&result, "start_kernel")?;
    Ok(())
}

fn dmesg(context: &Context<'_>) -> Result<()> {
    let all = ["--on", "lab", "--dmesg", "--cmdline", "boot_loglevel=7"];
    let ran = trace(context, "min", &all)?.run(context)?;
    let log = &ran.ended_with(0)?.stdout;
    for text in ["Linux version ", "Run /init as init process"] {
        ensure!(log.contains(text), "the log has no {text:?}:\n{log}");
    }
    Ok(())
}

/// Debian's kernel, unpatched and straight from its package, up to its first user process.
fn debian(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kernel = foreign::debian(context, dir.path())?;
    let kernel = kernel.to_str().context("a path")?;
    let result = explained(context, "min", &["--on", "lab", "--kernel", kernel])?;
    ensure!(result["outcome"] == "ready", "{}", result["outcome"]);
    Ok(())
}
