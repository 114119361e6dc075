//! The pages that back guest memory: each kind that can be requested, on hosts with and without it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::check::{Check, Context};
use super::inside::{Lab, RUNNER};

/// Boots in the lab, a report for each line; the pool is empty at first, and gets as much as a machine of 128 MiB takes.
const SCRIPT: &str = "set -e
runner=$1
boot() { $runner --json --pages $1 2>/dev/null; }
boot 2m
boot auto
boot thp
boot 4k
echo 64 > /proc/sys/vm/nr_hugepages
boot 2m
echo never > /sys/kernel/mm/transparent_hugepage/enabled
boot auto
boot thp";

/// The expected pages in each report, and whether there is a warning.
const WANTED: [(&str, bool); 7] = [
    ("thp", true),
    ("thp", false),
    ("thp", false),
    ("4k", false),
    ("2m", false),
    ("4k", false),
    ("4k", false),
];

/// For guests and the pool.
const MEMORY_MIB: u64 = 512;

/// Enough for seven boots on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("lab/pages", pages)]
}

fn pages(context: &Context<'_>) -> Result<()> {
    let lab = Lab {
        profile: "min",
        memory_mib: MEMORY_MIB,
        timeout: TIMEOUT,
        ..Lab::default()
    };
    let said = lab.shell(context, SCRIPT, &[RUNNER])?;
    let reports = said.lines().map(serde_json::from_str::<Value>);
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    let found: Vec<_> = reports
        .iter()
        .map(|report| {
            let pages = report["pages"].as_str().unwrap_or_default();
            (pages, report["warnings"].is_array())
        })
        .collect();
    ensure!(found == WANTED, "{found:?}");
    Ok(())
}
