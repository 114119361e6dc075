//! The command line of `jiffy`. Written by hand over lexopt: a derive-style parser builds its whole command tree
//! at start, and start is what this program is about.

use crate::device_options;
use jiffy::devices::Spec;
use jiffy::kernel::Protocol;
use jiffy::memory::Pages;
use jiffy::vm::Irqchip;
use std::ffi::OsString;
use std::mem;
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
Boot an x86-64 Linux under KVM, and say how long it took.

Usage:
  jiffy run --kernel VMLINUX [--initrd CPIO]... [options] [-- PROGRAM ARG...]
  jiffy probe [--json]

run boots until PID 1 is ready; with PROGRAM, takes it (and the libraries it needs) along, runs it in the guest,
and passes on its stdin, stdout, stderr and exit status. probe tells what kind of KVM this host has.

Options of run:
  --kernel FILE       the kernel: an x86-64 vmlinux
  --entry PROTOCOL    how it is entered: linux64 (PVH if its entry point is in none of its segments) or pvh (linux64)
  --initrd FILE       an initramfs (cpio); several are put one behind the other
  --memory SIZE       guest memory, in MiB or with a suffix K, M or G (128M)
  --cpus N            vCPUs, 1 to 32 (1); the kernel must be one for several
  --pages KIND        what backs guest memory: auto, 4k, thp or 2m (auto)
  --irqchip KIND      local: the local APIC alone; pc: PIC, I/O APIC and PIT too, for foreign kernels (local)
  --disk FILE[,ro][,direct]
                      a disk: /dev/vda, the next /dev/vdb; read-only with ro, past the page cache with direct
  --root FILE[,ro][,direct]
                      a disk whose ext4 file system is the root, where PROGRAM is; it is /dev/vda
  --in-guest          PROGRAM is in the initramfs already: take nothing along
  --net tap=NAME[,ip=A.B.C.D/N[,gw=A.B.C.D]][,mac=XX:XX:XX:XX:XX:XX]
                      a network card on a tap, which is made if it is not there, with the gateway's address
  --console           the program's streams are a terminal, /dev/hvc0, on ours; Ctrl-A x ends it (see --timeout)
  --entropy           randomness from the host
  --balloon           memory that the guest frees goes back to the host
  --vsock [cid=N,]uds=PATH
                      sockets between guest and host: a program that connects to PATH and says `CONNECT port` is
                      connected to the guest's port, and the guest (3, or N) reaches the host's port at PATH_port
  --cmdline TEXT      more for the kernel's command line
  --timeout SECONDS   the longest that the guest may run (60)
  --stdin FILE        the program's input, instead of ours
  --ready-fd N        write one byte 0x01 to this descriptor when the guest is ready
  --profile NAME      the kernel's profile, for the report
  --runs N            boot N times, each in a process of its own (1)
  --count N           boot N machines in one process, which share the kernel and initramfs; PROGRAM's input is empty
                      unless --stdin gives it one; with --json, the first to be ready wait until all beside them are
  --parallel P        with --count: so many at a time (as many as there are processors)
  --report FILE       write the report as JSON to FILE
  --trace FILE        interrupt the guest to see where it is, and write that to FILE (- for stdout)
  --sample-hz N       how often in a second (10000)
  --json              write the report as JSON to stdout; the program's output goes to stderr
  --quiet             no report
  --jail DIR          lock the runner up in DIR, best an empty one, before the guest runs: no other files, no network,
                      no privileges; run as root, it becomes nobody. The sockets of --vsock have to be in DIR
  --no-seccomp        do not confine the runner to the system calls that a running guest takes

Exit status: the program's own; 0 ready; 124 timed out; 125 the runner's or the guest's fault; 130 interrupted;
2 bad usage.

Examples:
  jiffy run --kernel vmlinux --initrd initramfs.cpio
  echo hello | jiffy run --kernel vmlinux --initrd initramfs.cpio -- /usr/bin/tr a-z A-Z
  jiffy run --kernel vmlinux --initrd initramfs.cpio --runs 15 --json
  jiffy run --kernel vmlinux --initrd initramfs.cpio --count 1000 --parallel 64 --pages 4k";

/// What was asked for.
pub(crate) enum Command {
    /// Boot.
    Run(Box<Run>),
    /// Tell the kind of KVM; as JSON if true.
    Probe(bool),
    /// Print this text.
    Print(String),
}

/// The options of `jiffy run`.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) kernel: PathBuf,
    pub(crate) entry: Protocol,
    pub(crate) initrd: Vec<PathBuf>,
    pub(crate) memory_mib: u64,
    pub(crate) cpus: u8,
    pub(crate) pages: Pages,
    pub(crate) irqchip: Irqchip,
    pub(crate) devices: Vec<Spec>,
    pub(crate) root: bool,
    pub(crate) in_guest: bool,
    pub(crate) console: bool,
    pub(crate) cmdline: String,
    pub(crate) timeout: Duration,
    pub(crate) stdin: Option<PathBuf>,
    pub(crate) ready_fd: Option<i32>,
    pub(crate) profile: String,
    pub(crate) runs: u32,
    pub(crate) count: Option<u32>,
    pub(crate) parallel: Option<u32>,
    pub(crate) report: Option<PathBuf>,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) sample_hz: u32,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) no_seccomp: bool,
    pub(crate) jail: Option<PathBuf>,
    pub(crate) program: Vec<OsString>,
}

/// Reads the arguments, the program's name excluded.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;
    // lexopt has no notion of "the rest behind --", so that is split off first.
    let mut args: Vec<_> = args.collect();
    let program = match args.iter().position(|arg| arg == "--") {
        Some(at) => args.split_off(at).split_off(1),
        None => Vec::new(),
    };
    let mut parser = lexopt::Parser::from_args(args);
    match parser.next()? {
        Some(Value(command)) if command == "run" => run(parser, program),
        Some(Value(command)) if command == "probe" => probe(parser),
        Some(Long("help") | Short('h')) | None => Ok(Command::Print(HELP.to_owned())),
        Some(Long("version") | Short('V')) => Ok(Command::Print(format!(
            "jiffy {}",
            env!("CARGO_PKG_VERSION")
        ))),
        Some(other) => Err(other.unexpected()),
    }
}

fn probe(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;
    match parser.next()? {
        None => Ok(Command::Probe(false)),
        Some(Long("json")) => Ok(Command::Probe(true)),
        Some(other) => Err(other.unexpected()),
    }
}

fn run(mut parser: lexopt::Parser, program: Vec<OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;
    let mut run = Run {
        memory_mib: 128,
        cpus: 1,
        timeout: Duration::from_secs(60),
        runs: 1,
        sample_hz: 10_000,
        program,
        ..Run::default()
    };
    let mut kernel = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("kernel") => kernel = Some(parser.value()?.into()),
            Long("entry") => run.entry = parser.value()?.parse_with(entry)?,
            Long("initrd") => run.initrd.push(parser.value()?.into()),
            Long("memory") => run.memory_mib = parser.value()?.parse_with(mebibytes)?,
            Long("cpus") => run.cpus = parser.value()?.parse_with(cpus)?,
            Long("pages") => run.pages = parser.value()?.parse_with(pages)?,
            Long("irqchip") => run.irqchip = parser.value()?.parse_with(irqchip)?,
            Long("disk") => run.devices.push(device_options::disk(parser.value()?)?),
            Long("root") => {
                // The guest's first disk is the first that it is told of.
                run.devices
                    .insert(0, device_options::disk(parser.value()?)?);
                if mem::replace(&mut run.root, true) {
                    return Err("--root: a guest has one root".into());
                }
            }
            Long("in-guest") => run.in_guest = true,
            Long("net") => run
                .devices
                .push(device_options::net(&parser.value()?.string()?)?),
            Long("console") => run.console = true,
            Long("entropy") => run.devices.push(Spec::Entropy),
            Long("balloon") => run.devices.push(Spec::Balloon),
            Long("vsock") => {
                let known = |spec: &Spec| matches!(spec, Spec::Vsock(_));
                if run.devices.iter().any(known) {
                    return Err("--vsock: a guest has one address".into());
                }
                run.devices.push(device_options::vsock(parser.value()?)?);
            }
            Long("cmdline") => run.cmdline = parser.value()?.string()?,
            Long("timeout") => run.timeout = parser.value()?.parse_with(seconds)?,
            Long("stdin") => run.stdin = Some(parser.value()?.into()),
            Long("ready-fd") => run.ready_fd = Some(parser.value()?.parse_with(descriptor)?),
            Long("profile") => run.profile = parser.value()?.string()?,
            Long("runs") => run.runs = parser.value()?.parse_with(number)?,
            Long("count") => run.count = Some(parser.value()?.parse_with(number)?),
            Long("parallel") => run.parallel = Some(parser.value()?.parse_with(number)?),
            Long("report") => run.report = Some(parser.value()?.into()),
            Long("trace") => run.trace = Some(parser.value()?.into()),
            Long("sample-hz") => run.sample_hz = parser.value()?.parse_with(hertz)?,
            Long("json") => run.json = true,
            Long("quiet") => run.quiet = true,
            Long("jail") => run.jail = Some(parser.value()?.into()),
            Long("no-seccomp") => run.no_seccomp = true,
            Long("help") | Short('h') => return Ok(Command::Print(HELP.to_owned())),
            other => return Err(other.unexpected()),
        }
    }
    run.kernel = kernel.ok_or("--kernel is missing")?;
    for device in &mut run.devices {
        if let Spec::Vsock(sockets) = device {
            sockets.jail.clone_from(&run.jail);
        }
    }
    if run.count.is_some() && (run.runs > 1 || run.trace.is_some() || run.console) {
        return Err("--count takes no --runs, --trace or --console".into());
    }
    let opens = |spec: &Spec| !matches!(spec, Spec::Entropy | Spec::Balloon);
    if run.count.is_some() && run.jail.is_some() && run.devices.iter().any(opens) {
        // Each machine opens its own, where there are no files any more.
        return Err("--count takes no disk, network card or sockets with --jail".into());
    }
    if run.parallel.is_some() && run.count.is_none() {
        return Err("--parallel is for --count".into());
    }
    Ok(Command::Run(Box::new(run)))
}

fn mebibytes(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1 << 20),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .map(|bytes| bytes >> 20)
        .ok_or("give a size such as 128M or 1G")
}

fn cpus(text: &str) -> Result<u8, &'static str> {
    text.parse()
        .ok()
        .filter(|cpus| (1..=32).contains(cpus))
        .ok_or("give a number of vCPUs from 1 to 32")
}

fn pages(text: &str) -> Result<Pages, &'static str> {
    match text {
        "auto" => Ok(Pages::Auto),
        "4k" => Ok(Pages::Small),
        "thp" => Ok(Pages::Transparent),
        "2m" => Ok(Pages::Huge),
        _ => Err("use auto, 4k, thp or 2m"),
    }
}

fn entry(text: &str) -> Result<Protocol, &'static str> {
    match text {
        "linux64" => Ok(Protocol::Linux64),
        "pvh" => Ok(Protocol::Pvh),
        _ => Err("use linux64 or pvh"),
    }
}

fn irqchip(text: &str) -> Result<Irqchip, &'static str> {
    match text {
        "local" => Ok(Irqchip::Local),
        "pc" => Ok(Irqchip::Pc),
        _ => Err("use local or pc"),
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or("give a number of seconds above 0")
}

fn descriptor(text: &str) -> Result<i32, &'static str> {
    text.parse()
        .ok()
        .filter(|fd| *fd >= 0)
        .ok_or("give an open file descriptor's number")
}

fn hertz(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .ok()
        .filter(|hz| (1..=1_000_000).contains(hz))
        .ok_or("give a number from 1 to 1000000")
}

fn number(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or("give a number above 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(args: &[&str]) -> Result<Box<Run>, String> {
        match parse(args.iter().map(OsString::from)) {
            Ok(Command::Run(run)) => Ok(run),
            Ok(_) => Err("not a run".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_program_takes_everything_behind_the_dashes() {
        let run = run_of(&["run", "--kernel", "k", "--", "/bin/echo", "--json", "--"]).unwrap();
        assert_eq!(run.program, ["/bin/echo", "--json", "--"]);
        assert!(!run.json);
    }

    #[test]
    fn sizes_have_units() {
        for (text, mib) in [("128M", 128), ("128", 128), ("2G", 2048), ("8192k", 8)] {
            let run = run_of(&["run", "--kernel", "k", "--memory", text]).unwrap();
            assert_eq!(run.memory_mib, mib, "{text}");
        }
    }

    #[test]
    fn bad_usage_is_an_error() {
        for args in [
            &["run"][..],
            &["boot"],
            &["run", "--kernel"],
            &["run", "--kernel", "k", "--memory", "much"],
            &["run", "--kernel", "k", "--memory", "99999999999G"],
            &["run", "--kernel", "k", "--timeout", "-1"],
            &["run", "--kernel", "k", "--timeout", "inf"],
            &["run", "--kernel", "k", "--cpus", "0"],
            &["run", "--kernel", "k", "--pages", "1g"],
            &["run", "--kernel", "k", "--sample-hz", "0"],
            &["run", "--kernel", "k", "--frobnicate"],
            &[
                "run", "--kernel", "k", "--vsock", "uds=a", "--vsock", "uds=b",
            ],
            &["run", "--kernel", "k", "--entry", "bios"],
            &["run", "--kernel", "k", "--count", "0"],
            &["run", "--kernel", "k", "--count", "2", "--runs", "2"],
            &["run", "--kernel", "k", "--parallel", "2"],
            &[
                "run", "--kernel", "k", "--count", "2", "--jail", "d", "--disk", "f",
            ],
            &["run", "--kernel", "k", "stray"],
        ] {
            assert!(run_of(args).is_err(), "{args:?}");
        }
    }
}
