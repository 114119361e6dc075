//! Runs `cargo xtask trace`, and checks what every trace must satisfy.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::test::check::Context;
use crate::command::test::command::Run;

/// The least share of samples with a name.
const ATTRIBUTED: f64 = 0.95;

/// Runs the command for a profile.
pub(crate) fn trace(context: &Context<'_>, profile: &str, more: &[&str]) -> Result<Run> {
    let args = ["trace", "--profile", profile, "--timeout", "300"];
    let run = Run::xtask(
        args.into_iter()
            .chain(context.source.arguments())
            .chain(more.iter().copied()),
    )?;
    Ok(run.timeout(600))
}

/// Traces a kernel, and checks what every trace must satisfy.
pub(super) fn explained(context: &Context<'_>, profile: &str, more: &[&str]) -> Result<Value> {
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
pub(super) fn inclusive(result: &Value, name: &str) -> Result<u64> {
    let functions = result["functions"].as_array().context("no functions")?;
    let function = functions.iter().find(|function| function["name"] == name);
    function
        .and_then(|function| function["inclusive"].as_u64())
        .with_context(|| format!("{name} is not in the trace"))
}
