//! What each command does, and what it shows.

use crate::cli::Run;
use crate::config::{config, output};
use crate::io::{Error, close_inherited, complain, create, duplicate, open, print};
use crate::{many, runs};
use jiffy::boot::{Descriptor, Stdin, boot};
use jiffy::cgroup;
use jiffy::devices::{RawMode, Spec, Terminal};
use jiffy::payload;
use jiffy::report::{Clock, FAULT, Kind, Outcome, Report, probe};
use jiffy_abi::payload::{STDIN, TERMINAL};
use rustix::stdio::{stderr, stdin, stdout};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A program that cannot be taken along is bad usage.
const USAGE: u8 = 2;

/// `jiffy run`.
pub(crate) fn run(run: Run, clock: Clock) -> u8 {
    try_run(run, clock).unwrap_or_else(|error| {
        complain(&error.to_string());
        if error.is::<payload::Error>() {
            USAGE
        } else {
            FAULT
        }
    })
}

/// `jiffy probe`; its exit status is 1 where this host's KVM cannot be used.
#[cold]
pub(crate) fn probe(json: bool) -> u8 {
    let found = probe::probe();
    let reason = found.missing.join("; ");
    let kind = found.kind.map_or("none", Kind::name);
    if json {
        print(&serde_json::json!({"kind": kind, "api": found.api, "reason": reason, "emulator": found.emulator,
            "missing": found.missing, "notes": found.notes}).to_string());
    } else if found.kind.is_some() {
        let emulated = found
            .emulator
            .map(|name| format!(", a processor that {name} emulates"));
        print(&format!(
            "KVM {}, {kind}{}",
            found.api,
            emulated.unwrap_or_default()
        ));
        found.notes.iter().for_each(|note| print(note));
    } else {
        print(&reason);
    }
    u8::from(found.kind.is_none())
}

fn try_run(mut run: Run, clock: Clock) -> Result<u8, Error> {
    if run.runs > 1 {
        return runs::repeat(&run);
    }
    close_inherited(run.ready_fd);
    if let Some(dir) = &run.cgroup {
        cgroup::enter(dir)?;
    }
    if let Some(count) = run.count {
        return many::boot(run, count);
    }
    let output = output(&run);
    let mut raw = None;
    let (stdin, streams) = if run.console {
        raw = show_console(&mut run)?;
        (Stdin::none(), TERMINAL)
    } else {
        (input(&run)?, STDIN)
    };
    let config = config(&mut run, streams)?;
    // After the guest has run, nothing can be opened any more.
    let trace_file = run.trace.as_deref().map(create).transpose()?;
    let report_file = run.report.as_deref().map(create).transpose()?;
    let booted = boot(config, output, stdin, clock);
    // Messages from here on find the terminal as it was.
    drop(raw);
    let (report, trace) = booted?;
    if let (Some(mut file), Some(trace)) = (trace_file, &trace) {
        writeln!(file, "{}", serde_json::to_string(trace)?)?;
    }
    show(&report, run.json, run.quiet, report_file)?;
    Ok(report.exit_code)
}

/// The program's input.
fn input(run: &Run) -> Result<Stdin, Error> {
    Ok(match &run.stdin {
        Some(path) => Stdin::of(open(path)?),
        None => Stdin::of(Descriptor::Standard(stdin())),
    })
}

/// Adds the console, and makes the terminal raw, if it is one, until the result is dropped.
fn show_console(run: &mut Run) -> Result<Option<RawMode>, Error> {
    let input = match &run.stdin {
        Some(path) => open(path)?,
        None => File::from(duplicate(stdin())?),
    };
    let raw = RawMode::enter(&OwnedFd::from(input.try_clone()?));
    let shown = duplicate(if run.json { stderr() } else { stdout() })?;
    run.devices.push(Spec::Console(Terminal {
        input: Arc::new(input),
        output: Arc::new(File::from(shown)),
    }));
    Ok(raw)
}

fn show(
    report: &Report,
    json: bool,
    quiet: bool,
    file: Option<Box<dyn Write>>,
) -> Result<(), Error> {
    for line in report.warnings.iter().chain(&report.diagnosis) {
        complain(line);
    }
    if json || file.is_some() {
        let text = serde_json::to_string(report)?;
        if let Some(mut file) = file {
            writeln!(file, "{text}")?;
        }
        if json {
            writeln!(io::stdout(), "{text}")?;
        }
    } else if !quiet {
        complain(&summary(report));
    }
    Ok(())
}

fn summary(report: &Report) -> String {
    let unit = match report.kvm.kind {
        Kind::Hardware => "ms",
        Kind::Software => "ms (emulated by software KVM: not a boot time)",
        Kind::Lab => "lab ms",
    };
    let outcome = match report.ended_by {
        Some(how) => format!("{} by {how}", report.outcome),
        None => report.outcome.to_string(),
    };
    // After ready some time passes before anything else does, so without any there was no ready.
    let event = match (report.us.init > 0.0, report.outcome) {
        (true, Outcome::Ready) => "ready".to_owned(),
        (true, _) => format!("{outcome}; ready"),
        (false, _) if report.ended_by.is_some() => format!("{outcome}, without ready,"),
        (false, _) => format!("{outcome} before PID 1 ran,"),
    };
    format!(
        "{event} after {:.2} = runner {:.2} + kernel {:.2} {unit}",
        report.us.to_ready / 1e3,
        report.us.to_entry / 1e3,
        report.us.kernel / 1e3,
    )
}
