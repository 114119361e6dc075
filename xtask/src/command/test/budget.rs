//! Checks the cost of boots against the budget in ci/budget.toml.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::check::{Check, Context};
use super::command::Run;
use super::guests::{self, Kernel, guest, number};
use crate::guest::userland;

/// The budget's file, from the repository's root.
const FILE: &str = "ci/budget.toml";

/// How far lab figures vary from run to run, as a share.
const TOLERANCE: f64 = 1.01;

/// A cost below this share of its budget calls for a lower budget.
const GENEROUS: f64 = 0.9;

/// Other memory sizes to boot with: neither less nor more memory may slow a boot much.
const MEMORIES: [&str; 3] = ["20M", "64M", "16G"];

/// Memory of the guests that measure first uses.
const FIRST_MEMORY: &str = "128M";

/// How many functions to name when a boot is over budget.
const NAMED: usize = 12;

/// What a boot of one profile may cost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    to_ready_us: f64,
    exits: f64,
    pages: f64,
    kernel_bytes: f64,
    init_bytes: f64,
    growth: f64,
    /// With four processors; none for a kernel without SMP.
    processors: Option<f64>,
    program_us: f64,
    /// In lab microseconds, by the names that `guest first` uses.
    first_us: BTreeMap<String, f64>,
}

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    ["min", "default", "smp"]
        .map(|profile| {
            Check::new(format!("lab/{profile}/budget"), move |context| {
                check(context, profile)
            })
        })
        .into()
}

fn check(context: &Context<'_>, profile: &str) -> Result<()> {
    let file = context.layout.root().join(FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let mut budgets: BTreeMap<String, Budget> =
        toml::from_str(&text).with_context(|| format!("in {FILE}"))?;
    let budget = budgets
        .remove(profile)
        .with_context(|| format!("{FILE} has no [{profile}]"))?;
    let args = ["--on", "lab", "--json", "--profile", profile];
    let report = xtask(context, "boot", &args)?;
    let with = |option: &str, value: &str| {
        let args = [&args[..], &[option, value]].concat();
        to_ready(&xtask(context, "boot", &args)?)
    };
    let mut of_memories = vec![to_ready(&report)?];
    for memory in MEMORIES {
        of_memories.push(with("--memory", memory)?);
    }
    let init = size(&context.layout.init())?;
    let mut costs = costs(&budget, &report, &of_memories, init)?;
    if let Some(most) = budget.processors {
        let ratio = with("--cpus", "4")? / to_ready(&report)?;
        costs.push(Cost::new("processors", ratio, most));
    }
    costs.extend(first(context, profile, &budget)?);
    let over: Vec<_> = costs.iter().filter(|cost| cost.is_over()).collect();
    if over.is_empty() {
        for cost in costs.iter().filter(|cost| cost.is_generous()) {
            eprintln!("the budget is generous: {profile}: {}", cost.line());
        }
        return Ok(());
    }
    let lines: Vec<_> = over.iter().map(|cost| cost.line()).collect();
    bail!(
        "over the budget: {}\nthe functions with most samples:\n{}",
        lines.join("; "),
        functions(context, profile)?
    )
}

/// Work that the boot postpones must not be expensive for the first program.
fn first(context: &Context<'_>, profile: &str, budget: &Budget) -> Result<Vec<Cost>> {
    let options = ["--profile", profile, "--memory", FIRST_MEMORY];
    let timed = [&options[..], &["--json"]].concat();
    let program = userland::guest(context.layout)?.into();
    let ran = guests::boot(context, Kernel::Ours, &timed, program, &["nothing"])?.run(context)?;
    let report = ran.ended_with(0)?.json()?;
    let program = report["us"]["payload"].as_f64().context("no payload")?;
    let mut costs = vec![Cost::new("program_us", program, budget.program_us)];
    for (door, &most) in &budget.first_us {
        let said = guest(context, Kernel::Ours, &options, &["first", door])?;
        costs.push(Cost::new(
            &format!("first_us.{door}"),
            number(&said, door)?,
            most,
        ));
    }
    Ok(costs)
}

fn to_ready(report: &Value) -> Result<f64> {
    let us = &report["us"]["to_ready"];
    us.as_f64().with_context(|| format!("in {report}"))
}

/// A measured figure and its budget.
struct Cost {
    name: String,
    is: f64,
    most: f64,
}

impl Cost {
    fn new(name: &str, is: f64, most: f64) -> Self {
        let name = name.to_owned();
        Self { name, is, most }
    }

    fn is_over(&self) -> bool {
        self.is > self.most * TOLERANCE
    }

    fn is_generous(&self) -> bool {
        self.is < self.most * GENEROUS
    }

    fn line(&self) -> String {
        let decimals = if self.most < 10.0 { 2 } else { 0 };
        let Self { name, is, most } = self;
        format!("{name} is {is:.decimals$}, budget {most:.decimals$}")
    }
}

fn costs(
    budget: &Budget,
    report: &Value,
    of_memories: &[f64],
    init_bytes: f64,
) -> Result<Vec<Cost>> {
    let number = |value: &Value| value.as_f64().with_context(|| format!("in {report}"));
    let fold = |pick: fn(f64, f64) -> f64| of_memories.iter().copied().reduce(pick);
    let growth = fold(f64::max)
        .zip(fold(f64::min))
        .map(|(longest, shortest)| longest / shortest);
    Ok([
        ("to_ready_us", to_ready(report)?, budget.to_ready_us),
        ("growth", growth.context("no boots")?, budget.growth),
        ("exits", number(&report["exits"]["total"])?, budget.exits),
        ("pages", number(&report["pages_touched"])?, budget.pages),
        (
            "kernel_bytes",
            number(&report["kernel"]["bytes"])?,
            budget.kernel_bytes,
        ),
        ("init_bytes", init_bytes, budget.init_bytes),
    ]
    .map(|(name, is, most)| Cost::new(name, is, most))
    .into())
}

/// Where the time goes now, by samples of three boots.
fn functions(context: &Context<'_>, profile: &str) -> Result<String> {
    let args = [
        "--on",
        "lab",
        "--runs",
        "3",
        "--format",
        "json",
        "--profile",
        profile,
    ];
    let trace = xtask(context, "trace", &args)?;
    let functions = trace["functions"].as_array().context("no functions")?;
    let lines: Vec<_> = functions
        .iter()
        .take(NAMED)
        .map(|function| format!("{:>6}  {}", function["self"], function["name"]))
        .collect();
    Ok(lines.join("\n"))
}

fn xtask(context: &Context<'_>, command: &str, args: &[&str]) -> Result<Value> {
    let words = [command].into_iter().chain(context.source.arguments());
    let ran = Run::xtask(words.chain(args.iter().copied()))?
        .timeout(300)
        .run(context)?;
    ran.ended_with(0)?.json()
}

fn size(file: &Path) -> Result<f64> {
    let metadata = fs::metadata(file).with_context(|| format!("looking at {}", file.display()))?;
    Ok(metadata.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_over_is_named() {
        let budget: BTreeMap<String, Budget> = toml::from_str(
            "[min]\nto_ready_us = 100\nexits = 10\npages = 10\nkernel_bytes = 1_000\ninit_bytes = 8\n\
             growth = 1.2\nprogram_us = 100\nfirst_us = { socket = 5 }",
        )
        .unwrap();
        let report = json!({"us": {"to_ready": 100.9}, "exits": {"total": 11}, "pages_touched": 2,
            "kernel": {"bytes": 1000}});
        let costs = costs(&budget["min"], &report, &[100.9, 98.0, 131.0], 8.0).unwrap();
        let over: Vec<_> = costs
            .iter()
            .filter(|c| c.is_over())
            .map(Cost::line)
            .collect();
        assert_eq!(
            over,
            ["growth is 1.34, budget 1.20", "exits is 11, budget 10"]
        );
        let generous: Vec<_> = costs
            .iter()
            .filter(|c| c.is_generous())
            .map(Cost::line)
            .collect();
        assert_eq!(generous, ["pages is 2, budget 10"]);
        assert!(toml::from_str::<Budget>("to_ready_us = 1").is_err());
    }
}
