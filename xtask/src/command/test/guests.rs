//! Guests that run `ci/guest` in the lab, on a kernel with the series or without.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::check::Context;
use super::command::Run;
use crate::guest::userland;

/// Time limit of a guest by the lab's clock and by ours: enough for an emulated guest on a busy machine.
const SECONDS: u64 = 600;

/// The kernel of a guest; of profile `default` unless the options name another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// With the series, or the one given to the tests.
    Ours,
    /// Without the series.
    Unpatched,
}

/// Boots a guest in the lab with these options, runs a test of `ci/guest` in it, and returns what the test printed.
pub(crate) fn guest(
    context: &Context<'_>,
    kernel: Kernel,
    options: &[&str],
    test: &[&str],
) -> Result<String> {
    let program = userland::guest(context.layout)?;
    let ran = boot(context, kernel, options, program.into(), test)?.run(context)?;
    Ok(ran.ended_with(0)?.stdout.clone())
}

/// The command for a boot that runs a program with these words.
pub(crate) fn boot(
    context: &Context<'_>,
    kernel: Kernel,
    options: &[&str],
    program: OsString,
    test: &[&str],
) -> Result<Run> {
    let seconds = SECONDS.to_string();
    let mut words: Vec<OsString> = ["boot", "--on", "lab", "--timeout", &seconds]
        .map(Into::into)
        .into();
    if !options.contains(&"--json") {
        words.push("--quiet".into());
    }
    words.extend(context.source.arguments().into_iter().map(Into::into));
    words.extend(which(context, kernel, options));
    words.extend(options.iter().map(Into::into));
    words.extend(["--".into(), program]);
    words.extend(test.iter().map(Into::into));
    Ok(Run::xtask(words)?.timeout(SECONDS))
}

/// The options that select a kernel. The kernel that the tests were given replaces only that of profile `default`.
fn which(context: &Context<'_>, kernel: Kernel, options: &[&str]) -> Vec<OsString> {
    match (kernel, &context.kernel) {
        (Kernel::Unpatched, _) => ["--series", "none"].map(Into::into).into(),
        (Kernel::Ours, Some(file)) if !options.contains(&"--profile") => {
            vec!["--kernel".into(), file.into()]
        }
        (Kernel::Ours, _) => Vec::new(),
    }
}

/// The file of profile `default`'s kernel, or of the one that the tests were given.
pub(crate) fn vmlinux(context: &Context<'_>, profile: &str) -> Result<PathBuf> {
    if let Some(file) = context.kernel.as_ref().filter(|_| profile == "default") {
        return Ok(file.clone());
    }
    let args = ["build", "--profile", profile, "--json"];
    let ran = Run::xtask(args.into_iter().chain(context.source.arguments()))?
        .timeout(2400)
        .run(context)?;
    let made = ran.ended_with(0)?.json()?;
    let path = made["vmlinux"].as_str().context("no vmlinux")?;
    Ok(path.into())
}

/// The number that follows a word in a text.
pub(crate) fn number(line: &str, name: &str) -> Result<f64> {
    let mut words = line.split_whitespace();
    ensure!(
        words.any(|word| word == name),
        "there is no {name} in {line:?}"
    );
    let number = words.next().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("{name} is {number:?} in {line:?}"))
}
