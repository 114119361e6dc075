//! Measures a boot: time, exits and pages in the lab, instructions in QEMU without KVM.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiffy::report::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::variant::{MEMORY, Variant};
use crate::base::cache::Cache;
use crate::base::layout::Layout;
use crate::base::stats::{percentile, whole};
use crate::base::ui::Ui;
use crate::guest::artefacts::BuildOptions;
use crate::guest::devices::InLab;
use crate::machine::lab;
use crate::machine::qemu::{self, Counted};

/// How long a guest may run. One that gets ready takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The cost of a boot until PID 1 rings the doorbell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    /// From the runner's start, in lab microseconds; the median, as are exits and pages.
    pub(super) to_ready_us: f64,
    /// Of the guest only; none if they are not counted. Also the median, since each run has its own random seed.
    pub(super) instructions: Option<u64>,
    /// VM exits.
    pub(super) exits: u64,
    /// Pages of guest memory touched.
    pub(super) pages: u64,
    /// Size of vmlinux.
    pub(super) kernel_bytes: u64,
}

impl Figures {
    /// In the table's order.
    pub(super) fn numbers(&self) -> [Option<i64>; 5] {
        let count = |number: u64| i64::try_from(number).ok();
        [
            count(whole(self.to_ready_us.round())),
            self.instructions.and_then(count),
            count(self.exits),
            count(self.pages),
            count(self.kernel_bytes),
        ]
    }
}

/// Where boots are measured.
pub(super) struct Bench<'a> {
    pub(super) layout: &'a Layout,
    pub(super) ui: &'a Ui,
    pub(super) cache: &'a Cache,
    pub(super) options: &'a BuildOptions,
    pub(super) initramfs: PathBuf,
    pub(super) runs: u32,
}

impl Bench<'_> {
    /// Boots a variant's kernel.
    pub(super) fn measure(&self, kernel: &Path, variant: &Variant) -> Result<Figures> {
        let memory_mib = variant.memory_mib()?;
        let said = self.in_lab(kernel, variant, memory_mib)?;
        let report: Value =
            serde_json::from_str(&said).with_context(|| format!("reading {said:?}"))?;
        let instructions = (variant.memory() == MEMORY)
            .then(|| self.instructions(kernel, variant, memory_mib))
            .transpose()?;
        Ok(Figures {
            to_ready_us: median(&report, &["us", "to_ready"])?,
            instructions,
            exits: whole(median(&report, &["exits", "total"])?),
            pages: whole(median(&report, &["pages_touched"])?),
            kernel_bytes: fs::metadata(kernel)
                .with_context(|| format!("looking at {}", kernel.display()))?
                .len(),
        })
    }

    fn in_lab(&self, kernel: &Path, variant: &Variant, memory_mib: u64) -> Result<String> {
        let mut options: Vec<OsString> = ["--json", "--quiet"].map(OsString::from).into();
        let mut pair = |name: &str, value: &str| options.extend([name.into(), value.into()]);
        pair("--memory", variant.memory());
        pair("--runs", &self.runs.to_string());
        pair("--timeout", &TIMEOUT.as_secs().to_string());
        if !variant.cmdline.is_empty() {
            pair("--cmdline", &variant.cmdline);
        }
        if let Some(pages) = &variant.pages {
            pair("--pages", pages);
        }
        let mut file = tempfile::tempfile().context("making the report's file")?;
        let run = lab::Run {
            kernel: kernel.to_path_buf(),
            initrds: vec![self.initramfs.clone()],
            memory_mib,
            options,
            devices: InLab::default(),
            timeout: TIMEOUT * self.runs,
            json: false,
            payload: None,
            stdout: Some(file.try_clone().context("sharing the report's file")?),
        };
        let status = lab::run(self.layout, self.ui, self.cache, self.options, &run)?;
        let mut said = String::new();
        file.rewind()
            .and_then(|()| file.read_to_string(&mut said))
            .context("reading the report")?;
        ensure!(status == 0, "{}", outcome(&said, status));
        Ok(said)
    }

    fn instructions(&self, kernel: &Path, variant: &Variant, memory_mib: u64) -> Result<u64> {
        let mut command_line = format!("{} {}", jiffy::command_line::WORDS, lab::CLOCK);
        if !variant.cmdline.is_empty() {
            jiffy::command_line::add(&mut command_line, &variant.cmdline);
        }
        let count = |seed| {
            qemu::until_ready(&Counted {
                hardware: &lab::HARDWARE,
                kernel,
                initramfs: &self.initramfs,
                command_line: &command_line,
                seed,
                memory_mib,
                timeout: TIMEOUT,
            })
        };
        let mut counts = (0..self.runs).map(count).collect::<Result<Vec<_>>>()?;
        counts.sort_unstable();
        percentile(&counts, 50).context("no run")
    }
}

/// The median of a report's runs, or the value of its only run.
fn median(report: &Value, path: &[&str]) -> Result<f64> {
    let summary = report.get("summary");
    let mut value = summary.unwrap_or(report);
    for name in path {
        value = &value[name];
    }
    if summary.is_some() {
        value = &value["p50"];
    }
    match value.as_f64() {
        Some(number) => Ok(number),
        None => bail!("the runner's report has no {}", path.join(".")),
    }
}

/// Why the runner failed, for people.
fn outcome(said: &str, status: u8) -> String {
    let report: Value = serde_json::from_str(said).unwrap_or_default();
    let runs = report["runs"].as_array().cloned().unwrap_or_default();
    let outcome = runs
        .iter()
        .chain([&report])
        .filter_map(|run| Outcome::deserialize(&run["outcome"]).ok())
        .find(|outcome| *outcome != Outcome::Ready);
    outcome.map_or_else(
        || format!("the runner's exit status is {status}"),
        |outcome| format!("not ready: {outcome}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_run_and_several_have_a_median() {
        let one = json!({"us": {"to_ready": 5.5}, "pages_touched": 3});
        assert_eq!(median(&one, &["us", "to_ready"]).unwrap(), 5.5);
        let three =
            json!({"runs": [], "summary": {"us": {"to_ready": {"min": 1, "p50": 2, "max": 3}}}});
        assert_eq!(median(&three, &["us", "to_ready"]).unwrap(), 2.0);
        assert!(median(&three, &["pages_touched"]).is_err());
    }

    #[test]
    fn a_failure_is_named() {
        let runs = r#"{"runs": [{"outcome": "ready"}, {"outcome": "panicked"}]}"#;
        assert_eq!(outcome(runs, 125), "not ready: panicked");
        assert_eq!(
            outcome(r#"{"outcome": "timed-out"}"#, 124),
            "not ready: timed out"
        );
        assert_eq!(outcome("", 125), "the runner's exit status is 125");
    }
}
