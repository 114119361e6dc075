//! Traces of real boots: names, sums, flame graphs and differences, for our kernels, a slowed one, one that panics, and
//! a distribution's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::check::{Check, Context};
use super::command::Run;
use super::foreign;
use super::slow;
use crate::base::install::has_program;

/// The least share of samples with a name.
const ATTRIBUTED: f64 = 0.95;

/// The initcall that is made slow, and how many times its loop goes round: some lab milliseconds.
const SLOW: &str = "proc_version_init";
const ROUNDS: u32 = 5_000_000;

/// Two traces of the same boot in the lab differ by less than this share: as two boots do, and as much again for the samples.
const REPEATS: f64 = 0.02;

/// Shows the flame graph; Ubuntu has it in no package.
const BROWSER: &str = "chromium";

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

/// Runs the command for a profile.
pub(super) fn trace(context: &Context<'_>, profile: &str, more: &[&str]) -> Result<Run> {
    let args = ["trace", "--profile", profile, "--timeout", "300"];
    let run = Run::xtask(
        args.into_iter()
            .chain(context.source.arguments())
            .chain(more.iter().copied()),
    )?;
    Ok(run.timeout(600))
}

/// Traces a kernel, and checks what every trace must satisfy.
fn explained(context: &Context<'_>, profile: &str, more: &[&str]) -> Result<Value> {
    let more = [more, &["--format", "json"]].concat();
    let ran = trace(context, profile, &more)?.run(context)?;
    let result = ran.ended_with(0)?.json()?;
    let number = |value: &Value| value.as_f64().context("a number is missing");
    let (total, attributed) = (
        number(&result["samples"]["total"])?,
        number(&result["samples"]["attributed"])?,
    );
    ensure!(total > 0.0, "nothing was sampled");
    ensure!(
        attributed >= ATTRIBUTED * total,
        "{attributed} of {total} samples have a name"
    );
    let us = number(&result["total_us"])?;
    let phases = result["phases"].as_array().context("no phases")?;
    let sum = phases
        .iter()
        .map(|phase| number(&phase["us"]))
        .sum::<Result<f64>>()?;
    ensure!(
        (sum - us).abs() < 0.001 * us,
        "the phases are {sum} us, and the whole is {us}"
    );
    for name in ["start_kernel", "kernel_init"] {
        inclusive(&result, name)?;
    }
    Ok(result)
}

/// The samples in a function and in what it called.
fn inclusive(result: &Value, name: &str) -> Result<u64> {
    let functions = result["functions"].as_array().context("no functions")?;
    let function = functions.iter().find(|function| function["name"] == name);
    function
        .and_then(|function| function["inclusive"].as_u64())
        .with_context(|| format!("{name} is not in the trace"))
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

/// Draws a flame graph and returns its path.
fn draw(context: &Context<'_>, dir: &TempDir, runs: &str) -> Result<PathBuf> {
    let svg = dir.path().join("boot.svg");
    let file = svg.to_str().context("a path")?;
    let shown = ["--on", "lab", "--format", "flamegraph", "--runs", runs];
    let options = [&shown[..], &["--sample-hz", OFTEN]].concat();
    trace(context, "default", &[&options[..], &["-o", file]].concat())?
        .run(context)?
        .ended_with(0)?;
    Ok(svg)
}

fn flamegraph(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    shows_a_boot(&fs::read_to_string(draw(context, &dir, "3")?)?)
}

fn browser(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let svg = draw(context, &dir, "1")?;
    let url = format!("file://{}", svg.display());
    let words = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
    ];
    let ran = Run::program(&[&words[..], &[&url]].concat()).run(context)?;
    let shown = &ran.ended_with(0)?.stdout;
    shows_a_boot(shown)?;
    // Its script cuts names to the width of their frames, so the browser has laid it out.
    let cut = |text: &str| text.matches(">..").count();
    ensure!(
        cut(shown) > cut(&fs::read_to_string(&svg)?),
        "the flame graph's script has not run"
    );
    Ok(())
}

fn no_browser() -> Option<String> {
    (!has_program(BROWSER)).then(|| format!("there is no {BROWSER}"))
}

/// Samples a second, so that each function of the boot's beginning, which takes 20 lab microseconds, is met.
const OFTEN: &str = "100000";

/// From the first instruction's function to PID 1.
fn shows_a_boot(svg: &str) -> Result<()> {
    for name in [
        "startup_64",
        "start_kernel",
        "do_one_initcall",
        "kernel_init",
    ] {
        ensure!(
            svg.contains(&format!("<title>{name} (")),
            "the flame graph has no frame {name}"
        );
    }
    Ok(())
}

/// `min` with a delay in an initcall, against `min`: the difference names it, above all else.
fn diff(context: &Context<'_>) -> Result<()> {
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

/// Two traces of the same kernel show no difference.
fn baseline(context: &Context<'_>) -> Result<()> {
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
    let [before, change] = told().with_context(|| format!("no change is told: {out}"))?;
    ensure!(
        change.abs() < before * REPEATS,
        "two boots of {before} lab ms differ by {change}"
    );
    Ok(())
}

/// A guest that dies half-way gives its trace up to there, and its last words.
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

/// A kernel that nobody here has built or patched, straight from its package, to its first user process.
fn debian(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kernel = foreign::debian(context, dir.path())?;
    let kernel = kernel.to_str().context("a path")?;
    let result = explained(context, "min", &["--on", "lab", "--kernel", kernel])?;
    ensure!(result["outcome"] == "ready", "{}", result["outcome"]);
    Ok(())
}
