//! Checks the figures of `cargo xtask bench` against our promises.

use anyhow::{Context as _, Result, ensure};

use super::check::{Check, Context};
use super::command::Run;
use crate::command::bench;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    // On a busy machine, medians of the same two programs differ by half.
    let reason = "no real-time priority, without which times on a busy machine do not repeat";
    let not_first = (!bench::can_be_first()).then(|| reason.to_owned());
    vec![
        Check::new("lab/floor", |context| floor(context, "lab")),
        Check::new("host/floor", |context| floor(context, "host"))
            .on_kvm()
            .unless(not_first),
        Check::new("lab/vmm", vmm),
    ]
}

/// How many times as long as the floor the runner may take, to a guest's first byte and to the exit.
const FLOOR: [(&str, f64); 2] = [("first", 1.29), ("exit", 1.5)];

fn floor(context: &Context<'_>, place: &str) -> Result<()> {
    let args = ["bench", "--suite", "floor", "--on", place, "--json"];
    let ran = Run::xtask(args.into_iter().chain(context.source.arguments()))?.run(context)?;
    let report = ran.ended_with(0)?.json()?;
    for (what, most) in FLOOR {
        let ratio = report["ratio"][what].as_f64().context("no ratio")?;
        ensure!(
            ratio <= most,
            "{what} takes {ratio:.2} times as long as the floor: {report}"
        );
    }
    Ok(())
}

/// QEMU's smallest machine takes longer for the same boot.
fn vmm(context: &Context<'_>) -> Result<()> {
    let args = ["bench", "--suite", "vmm", "--profile", "min", "--on", "lab"];
    let more = ["--runs", "5", "--json"];
    let ran = Run::xtask(
        args.into_iter()
            .chain(more)
            .chain(context.source.arguments()),
    )?;
    let report = ran.run(context)?.ended_with(0)?.json()?;
    let rows = report["rows"].as_array().context("no rows")?;
    let row = |name: &str| rows.iter().find(|row| row["name"] == name);
    ensure!(rows.len() == 2 && row("jiffy").is_some(), "{report}");
    let ratio = row("qemu microvm").and_then(|row| row["ratio"].as_f64());
    let ratio = ratio.context("no ratio of QEMU's")?;
    ensure!(
        ratio > 1.0,
        "QEMU takes {ratio:.2} times as long as our runner: {report}"
    );
    Ok(())
}
