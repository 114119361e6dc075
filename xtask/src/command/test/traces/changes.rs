//! What differs between two traces: a slowed initcall is named, and the same kernel shows no change.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::run::trace;
use crate::command::test::check::Context;
use crate::command::test::command::Run;
use crate::command::test::slow;

/// The initcall that is slowed down, and how many times its loop runs: some lab milliseconds.
const SLOW: &str = "proc_version_init";
const ROUNDS: u32 = 5_000_000;

/// Two traces of the same boot in the lab differ by less than this share: 1 % as boots do, and another 1 % for sampling.
const REPEATS: f64 = 0.02;

/// Compares `min` with a delayed initcall to `min`: the initcall leads the list of differences.
pub(super) fn diff(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kernel = context.layout.artefacts("min").join("vmlinux");
    let before = result(context, &dir, &kernel, "before.json")?;
    let delayed = dir.path().join("vmlinux");
    fs::write(&delayed, slow::initcall(&fs::read(&kernel)?, SLOW, ROUNDS)?)?;
    let after = result(context, &dir, &delayed, "after.json")?;
    let ran = Run::xtask([
        "trace".as_ref(),
        "--diff".as_ref(),
        before.as_path(),
        &after,
    ])?
    .run(context)?;
    let top = ran.ended_with(0)?.stdout.lines().nth(3).unwrap_or_default();
    ensure!(
        top.trim_start().starts_with('+') && top.ends_with(SLOW),
        "the difference begins with {top:?}:\n{}",
        ran.stdout
    );
    Ok(())
}

fn result(context: &Context<'_>, dir: &TempDir, kernel: &Path, name: &str) -> Result<PathBuf> {
    let file = dir.path().join(name);
    let (kernel, output) = (kernel.to_str(), file.to_str());
    let (kernel, output) = (kernel.context("a path")?, output.context("a path")?);
    let options = [
        "--on", "lab", "--format", "json", "--kernel", kernel, "-o", output,
    ];
    trace(context, "min", &options)?
        .run(context)?
        .ended_with(0)?
        .printed("")?;
    Ok(file)
}

/// Compares two traces of the same kernel: they hardly differ.
pub(super) fn baseline(context: &Context<'_>) -> Result<()> {
    trace(context, "min", &["--on", "lab", "--save", "itself"])?
        .run(context)?
        .ended_with(0)?;
    let ran = trace(context, "min", &["--on", "lab", "--against", "itself"])?.run(context)?;
    let out = &ran.ended_with(0)?.stdout;
    // `BEFORE -> AFTER lab ms (CHANGE); ...`
    let told = || -> Option<[f64; 2]> {
        let (before, rest) = out.split_once(" -> ")?;
        let change = rest.split(['(', ')']).nth(1)?;
        Some([before.parse().ok()?, change.parse().ok()?])
    };
    let [before, change] = told().with_context(|| format!("no change is shown: {out}"))?;
    ensure!(
        change.abs() < before * REPEATS,
        "two boots of {before} lab ms differ by {change}"
    );
    Ok(())
}
