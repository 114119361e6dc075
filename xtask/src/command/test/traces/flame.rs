//! The flame graph: that it shows a boot, and that a browser runs its script.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::run::trace;
use crate::base::install::has_program;
use crate::command::test::check::Context;
use crate::command::test::command::Run;

/// The browser that renders the flame graph. Ubuntu does not package it.
const BROWSER: &str = "chromium";

/// Samples per second: enough to hit the functions at the beginning of a boot, which take 20 lab microseconds each.
const OFTEN: &str = "100000";

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

pub(super) fn flamegraph(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    shows_a_boot(&fs::read_to_string(draw(context, &dir, "3")?)?)
}

pub(super) fn browser(context: &Context<'_>) -> Result<()> {
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
    // The script truncates names to the width of their frames, so truncated names show that the browser has run it.
    let cut = |text: &str| text.matches(">..").count();
    ensure!(
        cut(shown) > cut(&fs::read_to_string(&svg)?),
        "the flame graph's script has not run"
    );
    Ok(())
}

pub(super) fn no_browser() -> Option<String> {
    (!has_program(BROWSER)).then(|| format!("there is no {BROWSER}"))
}

/// Checks that there are frames from the first instruction's function to PID 1.
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
