//! `--runs N`: each run in a process of its own, so that each has a start of its own to be measured.

use crate::cli::Run;
use crate::io::{Error, complain, is_stdout};
use jiffy::report::{FAULT, summary};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Repeats this process's command; the exit status is that of the first run that failed, else 0.
pub(crate) fn repeat(run: &Run) -> Result<u8, Error> {
    let mut reports = Vec::new();
    let mut status = 0;
    let mut trace: Option<Box<dyn Write>> = match &run.trace {
        Some(file) if is_stdout(file) => Some(Box::new(io::stdout())),
        Some(file) => Some(Box::new(File::create(file)?)),
        None => None,
    };
    let part = std::env::temp_dir().join(format!("jiffy-trace-{}", std::process::id()));
    let part = trace.is_some().then_some(part);
    for number in 1..=run.runs {
        let output = Command::new("/proc/self/exe")
            .args(once(std::env::args_os().skip(1), part.as_deref()))
            .stderr(Stdio::inherit())
            .output()?;
        let code = output
            .status
            .code()
            .and_then(|code| u8::try_from(code).ok());
        let code = code.unwrap_or(FAULT);
        let report: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("run {number} of {} ended without a report", run.runs))?;
        reports.push(report);
        if let (Some(trace), Some(part)) = (&mut trace, &part) {
            io::copy(&mut File::open(part)?, trace)?;
            std::fs::remove_file(part)?;
        }
        if status == 0 {
            status = code;
        }
    }
    let report = summary::of_runs(reports);
    if let Some(file) = &run.report {
        std::fs::write(file, format!("{report}\n"))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    if run.json {
        writeln!(io::stdout(), "{report}")?;
    } else if !run.quiet {
        let us = |field: &str, percentile: &str| {
            report["summary"]["us"][field][percentile]
                .as_f64()
                .unwrap_or(0.0)
        };
        complain(&format!(
            "{} runs: ready after {:.0} us (median; {:.0} to {:.0})",
            run.runs,
            us("to_ready", "p50"),
            us("to_ready", "min"),
            us("to_ready", "max"),
        ));
    }
    Ok(status)
}

/// The arguments of one run: as JSON on standard output, not repeated again, its trace in a file of its own.
fn once(args: impl Iterator<Item = OsString>, trace: Option<&Path>) -> Vec<OsString> {
    let mut ours: Vec<OsString> = args.collect();
    let end = ours
        .iter()
        .position(|arg| arg == "--")
        .unwrap_or(ours.len());
    // The last of an option wins; these go where options end.
    let mut last: Vec<OsString> = ["--json", "--runs", "1"].map(OsString::from).into();
    if let Some(file) = trace {
        last.extend(["--trace".into(), file.into()]);
    }
    ours.splice(end..end, last);
    ours
}
