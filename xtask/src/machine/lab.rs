//! The lab: a machine with hardware KVM, emulated by QEMU with an instruction clock, so that measurements are repeatable.
//!
//! Its initramfs holds our PID 1, whose payload is the runner, and the guest's kernel and initramfs as files. PID 1
//! reports the runner's output and exit status through the same ports that a guest's PID 1 uses on this machine.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiffy::report::{Kind, Outcome};
use jiffy_abi::payload::{STDIN, TERMINAL};

use crate::base::cache::Cache;
use crate::base::collect;
use crate::base::files::{read, write};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, complain, print};
use crate::guest::artefacts::{self, BuildOptions, Patches};
use crate::guest::devices::InLab;
use crate::guest::payload::{Payload, pack};
use crate::guest::userland;
use crate::machine::qemu::{self, Ended, Machine, judge};

/// The profile of the lab's kernel.
const PROFILE: &str = "lab";

/// TCG emulates SVM and nested paging. An instruction takes one nanosecond, idle time is skipped, and no clock depends on
/// the host, not even the date. Without an RTC, the kernel would search for one for a second.
pub(crate) const HARDWARE: [&str; 8] = [
    "-M",
    "microvm,accel=tcg,rtc=on,isa-serial=on",
    "-cpu",
    "EPYC,+svm,+npt",
    "-icount",
    "shift=0,sleep=off",
    "-rtc",
    "base=2025-01-01,clock=vm",
];

/// What follows from that clock. The kernel would otherwise measure it in loops, for which QEMU takes a minute. The TSC's rate
/// is known and the PIT's interrupt works; the PIT is used for timers, since the rate of the local APIC's timer is unknown.
pub(crate) const CLOCK: &str = "tsc=reliable tsc_early_khz=1000000 no_timer_check nolapic_timer";

/// Quiet, so that the messages shown when the lab fails are about what went wrong.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t";

/// What the lab needs in addition to the guest's memory, in MiB.
const OVERHEAD_MIB: u64 = 768;

/// How long the lab itself may take to start, in real time.
const START: Duration = Duration::from_secs(60);

/// A run of the runner in the lab.
pub(crate) struct Run {
    /// The guest's kernel.
    pub(crate) kernel: PathBuf,
    /// The archives of the guest's initramfs, in order.
    pub(crate) initrds: Vec<PathBuf>,
    /// Guest memory in MiB.
    pub(crate) memory_mib: u64,
    /// The runner's other options.
    pub(crate) options: Vec<OsString>,
    /// The guest's devices.
    pub(crate) devices: InLab,
    /// How long the guest may run, in lab time; and, plus the lab's start, in real time.
    pub(crate) timeout: Duration,
    /// JSON on stdout.
    pub(crate) json: bool,
    /// What to run in the guest.
    pub(crate) payload: Option<Payload>,
    /// Where the runner's stdout goes, if not to ours.
    pub(crate) stdout: Option<File>,
}

/// Builds the lab if necessary, runs the runner in it, and returns the runner's exit status.
pub(crate) fn run(
    layout: &Layout,
    ui: &Ui,
    cache: &Cache,
    options: &BuildOptions,
    run: &Run,
) -> Result<u8> {
    let Inside { files, arguments } = inside(run)?;
    let job = Job {
        program: userland::runner(layout)?,
        arguments,
        programs: Vec::new(),
        files,
        devices: run.devices.qemu.clone(),
        memory_mib: run.memory_mib,
        timeout: run.timeout,
        // With --json, the runner in the lab itself keeps its program's output off stdout.
        stdout: match &run.stdout {
            Some(file) => Box::new(file.try_clone()?),
            None => Box::new(io::stdout()),
        },
    };
    let ended = execute(layout, ui, cache, options, job)?;
    if ended.timed_out && run.json {
        print(&timed_out(run).to_string())?;
    }
    Ok(judge(&ended, true)?.1)
}

/// A program to run in the lab.
pub(crate) struct Job {
    /// A program of this machine; it has the same path there.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Other programs that it runs, which have the same paths there as here.
    pub(crate) programs: Vec<PathBuf>,
    /// Files in the lab, by paths from its root.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// QEMU's options for devices that its guests use.
    pub(crate) devices: Vec<OsString>,
    /// Memory for guests, in MiB.
    pub(crate) memory_mib: u64,
    /// How long it may run.
    pub(crate) timeout: Duration,
    /// Where its standard output goes.
    pub(crate) stdout: Box<dyn Write + Send>,
}

/// Builds the lab if necessary, and runs a program in it.
pub(crate) fn execute(
    layout: &Layout,
    ui: &Ui,
    cache: &Cache,
    options: &BuildOptions,
    job: Job,
) -> Result<Ended> {
    let lab = BuildOptions {
        profile: PROFILE.to_owned(),
        series: Patches::Ours,
        ..options.clone()
    };
    let lab = artefacts::build(layout, ui, &lab, false)?;
    let base = lab.initramfs.context("the lab has no initramfs")?;
    let mut archive = read(&base)?;
    jiffy::payload::files(&job.files, &mut archive).context("packing the lab")?;
    jiffy::payload::programs(&job.programs, &mut archive)?;
    archive.extend(pack(job.program.as_os_str(), &job.arguments, 0)?);

    let scratch = cache.scratch()?;
    let initramfs = scratch.path().join("initramfs.cpio");
    write(&initramfs, &archive)?;
    let ended = qemu::run(
        Machine {
            hardware: &HARDWARE,
            devices: &job.devices,
            kernel: lab.vmlinux,
            initramfs,
            command_line: format!("{COMMAND_LINE} {CLOCK}"),
            restarts: false,
            memory_mib: job.memory_mib + OVERHEAD_MIB,
            timeout: job.timeout + START,
            stdout: job.stdout,
        },
        scratch.path(),
    )?;
    if ended.timed_out {
        let seconds = (job.timeout + START).as_secs();
        // Also with --quiet: it is an error.
        complain(&format!(
            "the lab was killed after {seconds} s; give it longer with --timeout"
        ));
    }
    Ok(ended)
}

/// Runs a program in the lab, which must succeed, and returns what it printed.
pub(crate) fn printed(
    layout: &Layout,
    ui: &Ui,
    cache: &Cache,
    options: &BuildOptions,
    mut job: Job,
) -> Result<String> {
    let program = job.program.display().to_string();
    let (stdout, said) = collect::stream();
    job.stdout = stdout;
    let ended = execute(layout, ui, cache, options, job)?;
    let (_, status) = judge(&ended, true)?;
    let said = String::from_utf8_lossy(&said.bytes()).into_owned();
    ensure!(
        status == 0,
        "{program} ended with status {status} in the lab: {said}"
    );
    Ok(said)
}

/// Files in the lab for the runner, and its arguments.
struct Inside {
    files: Vec<(String, Vec<u8>)>,
    arguments: Vec<OsString>,
}

/// The files of the lab, and the runner's arguments, which name them.
fn inside(run: &Run) -> Result<Inside> {
    let mut files = vec![("lab/vmlinux".to_owned(), read(&run.kernel)?)];
    let mut arguments: Vec<OsString> = ["run", "--kernel", "/lab/vmlinux"].map(Into::into).into();
    let mut option = |name: &str, file: String, bytes| {
        arguments.extend([name.into(), format!("/{file}").into()]);
        files.push((file, bytes));
    };
    if let Some(root) = &run.devices.archive {
        option("--initrd", "lab/root.cpio".to_owned(), read(root)?);
    }
    for (number, initrd) in run.initrds.iter().enumerate() {
        option("--initrd", format!("lab/{number}.cpio"), read(initrd)?);
    }
    if let Some(payload) = &run.payload {
        // A terminal is not passed on, since the lab needs the whole input before it starts.
        let stdin = !io::stdin().is_terminal();
        if payload.in_guest().is_none() {
            let mut flags = run.devices.flags;
            if stdin && flags & TERMINAL == 0 {
                flags |= STDIN;
            }
            let archive = payload.archive(flags)?;
            option("--initrd", "lab/payload.cpio".to_owned(), archive);
        }
        if stdin {
            let mut bytes = Vec::new();
            io::stdin()
                .read_to_end(&mut bytes)
                .context("reading the program's input")?;
            option("--stdin", "lab/stdin".to_owned(), bytes);
        }
    }
    arguments.extend(run.options.iter().chain(&run.devices.runner).cloned());
    if let Some(words) = run.payload.as_ref().and_then(Payload::in_guest) {
        arguments.extend(["--in-guest", "--"].map(Into::into));
        arguments.extend(words.cloned());
    }
    Ok(Inside { files, arguments })
}

fn timed_out(run: &Run) -> serde_json::Value {
    serde_json::json!({"schema": 1, "outcome": Outcome::TimedOut, "exit_code": crate::base::failure::TIMED_OUT,
        "kvm": {"kind": Kind::Lab, "api": 12}, "memory_mib": run.memory_mib, "cpus": 1})
}
