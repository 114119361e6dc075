//! The budget of a boot, ci/budget.toml: what it may cost at most.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::command::Run;
use super::{Check, Context};

/// The budget's file, from the repository's root.
const FILE: &str = "ci/budget.toml";

/// Figures of the lab repeat to this share of them.
const TOLERANCE: f64 = 1.01;

/// Below this share of the budget, it should be lowered.
const GENEROUS: f64 = 0.9;

/// The memory that a boot's time is compared with that of the usual memory for.
const LARGE_MEMORY: &str = "16G";

/// How many functions are named when a boot has become dearer.
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
}

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    ["min", "default"]
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
    let large = [&args[..], &["--memory", LARGE_MEMORY]].concat();
    let large = xtask(context, "boot", &large)?;
    let init = size(&context.layout.init())?;
    let costs = costs(&budget, &report, &large, init)?;
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

/// A figure beside what it may be.
struct Cost {
    name: &'static str,
    is: f64,
    most: f64,
}

impl Cost {
    fn is_over(&self) -> bool {
        self.is > self.most * TOLERANCE
    }

    fn is_generous(&self) -> bool {
        self.is < self.most * GENEROUS
    }

    fn line(&self) -> String {
        let decimals = if self.most < 10.0 { 2 } else { 0 };
        let Self { name, is, most } = self;
        format!("{name} is {is:.decimals$}, of {most:.decimals$}")
    }
}

fn costs(budget: &Budget, report: &Value, large: &Value, init_bytes: f64) -> Result<Vec<Cost>> {
    let number = |value: &Value| value.as_f64().with_context(|| format!("in {report}"));
    let to_ready = number(&report["us"]["to_ready"])?;
    let to_ready_of_large = number(&large["us"]["to_ready"])?;
    Ok([
        ("to_ready_us", to_ready, budget.to_ready_us),
        ("growth", to_ready_of_large / to_ready, budget.growth),
        ("exits", number(&report["exits"]["total"])?, budget.exits),
        ("pages", number(&report["pages_touched"])?, budget.pages),
        (
            "kernel_bytes",
            number(&report["kernel"]["bytes"])?,
            budget.kernel_bytes,
        ),
        ("init_bytes", init_bytes, budget.init_bytes),
    ]
    .map(|(name, is, most)| Cost { name, is, most })
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
             growth = 1.2",
        )
        .unwrap();
        let report = json!({"us": {"to_ready": 100.9}, "exits": {"total": 11}, "pages_touched": 2,
            "kernel": {"bytes": 1000}});
        let large = json!({"us": {"to_ready": 131}});
        let costs = costs(&budget["min"], &report, &large, 8.0).unwrap();
        let over: Vec<_> = costs
            .iter()
            .filter(|c| c.is_over())
            .map(Cost::line)
            .collect();
        assert_eq!(over, ["growth is 1.30, of 1.20", "exits is 11, of 10"]);
        let generous: Vec<_> = costs
            .iter()
            .filter(|c| c.is_generous())
            .map(Cost::line)
            .collect();
        assert_eq!(generous, ["pages is 2, of 10"]);
        assert!(toml::from_str::<Budget>("to_ready_us = 1").is_err());
    }
}
