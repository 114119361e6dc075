//! What each command does, and what it shows.

use crate::cli::Run;
use crate::{many, runs};
use jiffy::boot::{self, Config};
use jiffy::cgroup;
use jiffy::clock::Clock;
use jiffy::devices::{Spec, Terminal};
use jiffy::initramfs::Archive;
use jiffy::payload;
use jiffy::ports::Output;
use jiffy::probe;
use jiffy::report::{Kind, Outcome, Report};
use jiffy::stdin::Stdin;
use jiffy::terminal::Raw;
use jiffy_abi::payload::{ROOT, STDIN, TERMINAL};
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The runner's or the guest's fault.
const FAULT: u8 = 125;
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

/// `jiffy probe`.
pub(crate) fn probe(json: bool) -> u8 {
    let (kind, api, reason) = match jiffy::vm::open_kvm() {
        Ok(kvm) => (
            serde_json::json!(probe::kind()),
            kvm.get_api_version(),
            String::new(),
        ),
        Err(error) => (serde_json::json!("none"), 0, error.to_string()),
    };
    if json {
        print(&serde_json::json!({"kind": kind, "api": api, "reason": reason}).to_string())
    } else if reason.is_empty() {
        print(&format!("KVM {api}, {}", kind.as_str().unwrap_or_default()))
    } else {
        print(&reason)
    }
}

/// Prints a line; nobody reading it is no fault.
pub(crate) fn print(text: &str) -> u8 {
    let _ = writeln!(io::stdout(), "{text}");
    0
}

/// Says what is wrong; when that fails there is nowhere left to say so.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "jiffy: {text}");
}

pub(crate) type Error = Box<dyn std::error::Error>;

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
    let output = output(&run)?;
    let input = match &run.stdin {
        Some(path) => open(path)?,
        None => File::from(duplicate(io::stdin().as_fd())?),
    };
    let mut raw = None;
    let (stdin, streams) = if run.console {
        raw = Raw::enter(&OwnedFd::from(input.try_clone()?));
        let shown = if run.json {
            duplicate(io::stderr().as_fd())?
        } else {
            duplicate(io::stdout().as_fd())?
        };
        run.devices.push(Spec::Console(Terminal {
            input: Arc::new(input),
            output: Arc::new(File::from(shown)),
        }));
        (Stdin::none(), TERMINAL)
    } else {
        (Stdin::from_file(input), STDIN)
    };
    let config = config(&mut run, streams)?;
    // Once the guest has run, nothing can be opened any more.
    let trace_file = run.trace.as_deref().map(create).transpose()?;
    let report_file = run.report.as_deref().map(create).transpose()?;
    let booted = boot::boot(config, output, stdin, clock);
    // What is said from here on is said on the terminal as it was.
    drop(raw);
    let (report, trace) = booted?;
    if let (Some(mut file), Some(trace)) = (trace_file, &trace) {
        writeln!(file, "{}", serde_json::to_string(trace)?)?;
    }
    show(&report, run.json, run.quiet, report_file)?;
    Ok(report.exit_code)
}

/// Where a program's output goes.
pub(crate) fn output(run: &Run) -> Result<Output, Error> {
    Ok(Output {
        stdout: if run.json || run.trace.as_deref().is_some_and(is_stdout) {
            Box::new(io::stderr())
        } else {
            Box::new(File::from(duplicate(io::stdout().as_fd())?))
        },
        stderr: Box::new(io::stderr()),
    })
}

/// Makes what the library wants of the options, whose paths and texts it takes.
pub(crate) fn config(run: &mut Run, streams: u32) -> Result<Config, Error> {
    let archives = mem::take(&mut run.initrd).into_iter();
    let mut initramfs: Vec<_> = archives.map(Archive::File).collect();
    if let Some((program, args)) = run.program.split_first() {
        let packed = if run.in_guest || run.root {
            let flags = streams | if run.root { ROOT } else { 0 };
            payload::in_guest(program, args, &payload::guest_environment(), flags)?
        } else {
            payload::with_payload(program, args, &payload::environment(), streams)?
        };
        initramfs.push(Archive::Bytes(packed));
    }
    Ok(Config {
        kernel: mem::take(&mut run.kernel),
        entry: run.entry,
        initramfs,
        command_line: mem::take(&mut run.cmdline),
        memory_mib: run.memory_mib,
        cpus: run.cpus,
        pages: run.pages,
        irqchip: run.irqchip,
        devices: mem::take(&mut run.devices),
        timeout: run.timeout,
        ready_fd: run.ready_fd.map(inherited).transpose()?.map(Arc::new),
        detailed: run.json || run.report.is_some() || run.trace.is_some(),
        jail: run.jail.take(),
        seccomp: !run.no_seccomp,
        profile: mem::take(&mut run.profile),
        program: run.program.first().map(PathBuf::from),
        trace: run.trace.is_some().then_some(run.sample_hz),
    })
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

/// Whether a file's name means standard output.
pub(crate) fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// Creates a file for a result, or gives standard output.
pub(crate) fn create(file: &Path) -> Result<Box<dyn Write>, Error> {
    if is_stdout(file) {
        return Ok(Box::new(io::stdout()));
    }
    let created =
        File::create(file).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(Box::new(created))
}

fn summary(report: &Report) -> String {
    let unit = match report.kvm.kind {
        Kind::Hardware => "ms",
        Kind::Software => "ms (emulated by software KVM: not a boot time)",
        Kind::Lab => "lab ms",
    };
    // Between ready and what followed there is some time, if there was a ready.
    let event = match (report.us.init > 0.0, report.outcome) {
        (true, Outcome::Ready) => "ready".to_owned(),
        (true, outcome) => format!("{outcome}; ready"),
        (false, outcome) => format!("{outcome} before PID 1 ran,"),
    };
    format!(
        "{event} after {:.2} = runner {:.2} + kernel {:.2} {unit}",
        report.us.to_ready / 1e3,
        report.us.to_entry / 1e3,
        report.us.kernel / 1e3,
    )
}

pub(crate) fn open(path: &Path) -> Result<File, Error> {
    Ok(File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// Closes what the caller left open beyond the standard descriptors and the one that was named: a guest that got
/// control of the runner could use it. Kernels before 5.9 cannot, and leave it open.
#[allow(unsafe_code)]
fn close_inherited(ready_fd: Option<i32>) {
    let named = ready_fd.map_or(2, |fd| fd.max(2)) as u32;
    for (first, last) in [(3, named.saturating_sub(1)), (named.max(2) + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: nothing of ours is open yet but the standard streams.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// A duplicate of a descriptor that the caller left open for us.
#[allow(unsafe_code)]
fn inherited(fd: i32) -> Result<OwnedFd, Error> {
    // SAFETY: the descriptor is only used for this one call, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)
        .map_err(|error| format!("--ready-fd {fd}: {error}"))?)
}
