//! `--count N`: many machines in this process.

use crate::cli::Run;
use crate::config::{config, output};
use crate::io::{Error, complain, create, open};
use jiffy::boot::{Output, Stdin};
use jiffy::fleet::{self, Fleet, Size};
use jiffy::report::{Outcome, Report, summary};
use jiffy_abi::payload::STDIN;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::num::NonZero;
use std::thread;

/// The exit status is that of the first machine that failed, else 0.
pub(crate) fn boot(mut run: Run, count: u32) -> Result<u8, Error> {
    let processors = || {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let size = Size {
        count,
        parallel: run.parallel.unwrap_or_else(processors),
    };
    let report_file = run.report.as_deref().map(create).transpose()?;
    let flags = if run.stdin.is_some() { STDIN } else { 0 };
    let config = config(&mut run, flags)?;
    let fleet = fleet::boot(size, config, || streams(&run))?;
    for (number, report) in fleet.reports.iter().enumerate() {
        for line in report.warnings.iter().chain(&report.diagnosis) {
            complain(&format!("machine {number}: {line}"));
        }
    }
    if run.json || report_file.is_some() {
        let text = as_json(&fleet, size)?.to_string();
        if let Some(mut file) = report_file {
            writeln!(file, "{text}")?;
        }
        if run.json {
            writeln!(io::stdout(), "{text}")?;
        }
    } else if !run.quiet {
        complain(&line(&fleet, size));
    }
    let mut codes = fleet.reports.iter().map(|report| report.exit_code);
    Ok(codes.find(|&code| code != 0).unwrap_or(0))
}

fn streams(run: &Run) -> jiffy::Result<(Output, Stdin)> {
    let io = |error: Error| jiffy::Error::Output(io::Error::other(error.to_string()));
    let stdin = match &run.stdin {
        Some(path) => Stdin::of(open(path).map_err(io)?),
        None => Stdin::none(),
    };
    Ok((output(run), stdin))
}

fn as_json(fleet: &Fleet, size: Size) -> Result<Value, Error> {
    let runs = fleet.reports.iter().map(serde_json::to_value);
    let mut report = summary::of_runs(runs.collect::<Result<_, _>>()?);
    report["vms"] = json!({"count": size.count, "parallel": size.parallel,
        "per_second": fleet.per_second, "rss_kib_per_vm": fleet.rss_kib_per_vm});
    Ok(report)
}

fn line(fleet: &Fleet, size: Size) -> String {
    let good = |report: &&Report| matches!(report.outcome, Outcome::Ready | Outcome::Exited);
    let mut ready: Vec<f64> = fleet
        .reports
        .iter()
        .filter(good)
        .map(|report| report.us.to_ready)
        .collect();
    ready.sort_by(f64::total_cmp);
    format!(
        "{} of {} machines were ready, {} at a time: after {:.2} ms (median), {:.1} a second",
        ready.len(),
        size.count,
        size.parallel.min(size.count),
        summary::percentile(&ready, 50) / 1e3,
        fleet.per_second,
    )
}
