//! Shows that removing a measure has an effect: a patch whose removal recompiles one file, and a command line parameter.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::check::{Check, Context};
use super::command::Run;

/// Each read of a CPUID leaf is an exit; 0009 avoids some 70 of them.
const EXITS: std::ops::Range<f64> = 30.0..150.0;

/// How many instructions a boot without 0009 differs by, in either direction: at least one, since it is another kernel, but
/// not many.
const INSTRUCTIONS: std::ops::Range<f64> = 1.0..20_000.0;

/// Pages that are touched only to clear them, which `memblock=zeroed` avoids in a boot with 16 GiB.
const PAGES: std::ops::Range<f64> = 2000.0..10_000.0;

/// Time limit in seconds: enough to compile a file, link, and boot each kernel twice on a busy machine.
const SECONDS: u64 = 300;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("lab/min/ablation", check)]
}

fn check(context: &Context<'_>) -> Result<()> {
    let words = "bench --suite ablation --profile min --runs 1 --json --only 0009,memblock-16G";
    let args = words.split(' ').chain(context.source.arguments());
    let ran = Run::xtask(args)?.timeout(SECONDS).run(context)?;
    let report = ran.ended_with(0)?.json()?;
    // No other patch depends on it. One that did would be removed as well, and the figure would be that of both.
    ensure!(
        row(&report, "0009")?["with"] == serde_json::json!([]),
        "0009 is not taken out alone"
    );
    let patch = change(&report, "0009")?;
    ensure!(
        EXITS.contains(&patch.exits),
        "without 0009 there are {} more exits",
        patch.exits
    );
    // Only removing the patch changes the kernel.
    let word = change(&report, "memblock-16G")?;
    ensure!(
        PAGES.contains(&word.pages),
        "without memblock=zeroed {} more pages are touched",
        word.pages
    );
    ensure!(
        word.bytes == 0.0,
        "a command-line parameter changed the kernel"
    );
    ensure!(
        patch.lab_us > 0.0 && word.lab_us > 0.0,
        "leaving them out does not slow the boot: {} and {} lab µs",
        patch.lab_us,
        word.lab_us
    );
    let more = patch
        .instructions
        .context("no instructions were counted without 0009")?;
    ensure!(
        INSTRUCTIONS.contains(&more.abs()),
        "without 0009 there are {more} more instructions"
    );
    Ok(())
}

/// What a row changes.
struct Change {
    lab_us: f64,
    /// Counted with the default memory only.
    instructions: Option<f64>,
    exits: f64,
    pages: f64,
    bytes: f64,
}

fn row<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    let rows = report["rows"].as_array().context("no rows")?;
    rows.iter()
        .find(|row| row["name"] == name)
        .with_context(|| format!("no row {name} in {report}"))
}

fn change(report: &Value, name: &str) -> Result<Change> {
    let row = row(report, name)?;
    let number = |name: &str| {
        row["change"][name]
            .as_f64()
            .with_context(|| format!("no {name} in {row}"))
    };
    Ok(Change {
        lab_us: number("to_ready_us")?,
        instructions: row["change"]["instructions"].as_f64(),
        exits: number("exits")?,
        pages: number("pages")?,
        bytes: number("kernel_bytes")?,
    })
}
