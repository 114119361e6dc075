//! The command line of `jiffy`. Written by hand over lexopt: a derive-style parser builds its whole command tree
//! at start, and start is what this program is about.

mod help;
mod options;
mod values;

use help::HELP;
use jiffy::boot::{Acpi, CpuFeatures, Irqchip, MemorySize, Pages, Protocol};
use jiffy::devices::{Card, Disk, Sockets, Spec};
use options::Options;
use std::ffi::OsString;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The command to run.
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
    pub(crate) memory: MemorySize,
    pub(crate) cpus: u8,
    pub(crate) cpu: CpuFeatures,
    pub(crate) pages: Pages,
    pub(crate) irqchip: Irqchip,
    pub(crate) acpi: Acpi,
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
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) env: Vec<OsString>,
    pub(crate) workdir: Option<OsString>,
    pub(crate) user: Option<String>,
    pub(crate) hostname: Option<OsString>,
    pub(crate) add: Vec<PathBuf>,
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

fn run(parser: lexopt::Parser, program: Vec<OsString>) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options(parser);
    let mut run = Run {
        cpus: 1,
        timeout: Duration::from_secs(60),
        runs: 1,
        sample_hz: 10_000,
        program,
        ..Run::default()
    };
    while let Some(arg) = options.0.next()? {
        match arg {
            Long("kernel") => run.kernel = options.path()?,
            Long("initrd") => run.initrd.push(options.path()?),
            Long("entry") => run.entry = options.value("entry", str::parse)?,
            Long("memory") => run.memory = options.value("memory", str::parse)?,
            Long("cpus") => run.cpus = options.value("cpus", values::cpus)?,
            Long("cpu") => run.cpu = options.value("cpu", str::parse)?,
            Long("pages") => run.pages = options.value("pages", str::parse)?,
            Long("irqchip") => run.irqchip = options.value("irqchip", str::parse)?,
            Long("acpi") => run.acpi = options.value("acpi", str::parse)?,
            Long("in-guest") => run.in_guest = true,
            Long("env") => run.env.push(options.0.value()?),
            Long("workdir") => run.workdir = Some(options.0.value()?),
            Long("user") => run.user = Some(options.text()?),
            Long("hostname") => run.hostname = Some(options.0.value()?),
            Long("add") => run.add.push(options.path()?),
            Long("cmdline") => run.cmdline = options.text()?,
            Long("timeout") => run.timeout = options.value("timeout", values::seconds)?,
            Long("stdin") => run.stdin = Some(options.path()?),
            Long("ready-fd") => run.ready_fd = Some(options.value("ready-fd", values::descriptor)?),
            Long("profile") => run.profile = options.text()?,
            Long("runs") => run.runs = options.value("runs", values::number)?,
            Long("count") => run.count = Some(options.value("count", values::number)?),
            Long("parallel") => run.parallel = Some(options.value("parallel", values::number)?),
            Long("report") => run.report = Some(options.path()?),
            Long("trace") => run.trace = Some(options.path()?),
            Long("sample-hz") => run.sample_hz = options.value("sample-hz", values::hertz)?,
            Long("json") => run.json = true,
            Long("quiet") => run.quiet = true,
            Long("jail") => run.jail = Some(options.path()?),
            Long("cgroup") => run.cgroup = Some(options.path()?),
            Long("no-seccomp") => run.no_seccomp = true,
            Long("help") | Short('h') => return Ok(Command::Print(HELP.to_owned())),
            Long(
                name @ ("disk" | "root" | "net" | "console" | "entropy" | "balloon" | "vsock"),
            ) => {
                let name = name.to_owned();
                device(&mut run, &mut options, &name)?;
            }
            other => return Err(other.unexpected()),
        }
    }
    if run.kernel == Path::new("") {
        return Err("--kernel is missing".into());
    }
    for device in &mut run.devices {
        if let Spec::Vsock(sockets) = device {
            sockets.jail.clone_from(&run.jail);
        }
    }
    together(&run)?;
    Ok(Command::Run(Box::new(run)))
}

/// Takes an option that adds a device.
fn device(run: &mut Run, options: &mut Options, name: &str) -> Result<(), lexopt::Error> {
    match name {
        "disk" => {
            let disk = options.os_value("disk", Disk::parse)?;
            run.devices.push(Spec::Disk(disk));
        }
        "root" => {
            // Linux names the first disk that it finds /dev/vda, so the root comes first.
            let disk = options.os_value("root", Disk::parse)?;
            run.devices.insert(0, Spec::Disk(disk));
            if mem::replace(&mut run.root, true) {
                return Err("--root: give it once, a guest has one root".into());
            }
        }
        "net" => {
            let card = options.value("net", str::parse::<Card>)?;
            run.devices.push(Spec::Net(card));
        }
        "vsock" => {
            let mut devices = run.devices.iter();
            if devices.any(|spec| matches!(spec, Spec::Vsock(_))) {
                return Err("--vsock: give it once, a guest has one CID".into());
            }
            let sockets = options.os_value("vsock", Sockets::parse)?;
            run.devices.push(Spec::Vsock(sockets));
        }
        "entropy" => run.devices.push(Spec::Entropy),
        "balloon" => run.devices.push(Spec::Balloon),
        _ => run.console = true,
    }
    Ok(())
}

/// Refuses options that exclude each other.
fn together(run: &Run) -> Result<(), &'static str> {
    if run.count.is_some() && (run.runs > 1 || run.trace.is_some() || run.console) {
        return Err("--count cannot be combined with --runs, --trace or --console");
    }
    let opens = |spec: &Spec| !matches!(spec, Spec::Entropy | Spec::Balloon);
    if run.count.is_some() && run.jail.is_some() && run.devices.iter().any(opens) {
        return Err(
            "--count with --jail cannot have --disk, --net or --vsock: each machine would have to open its own in the jail",
        );
    }
    if run.parallel.is_some() && run.count.is_none() {
        return Err("--parallel needs --count");
    }
    Ok(())
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
    fn a_value_is_refused_by_its_option() {
        let error = run_of(&["run", "--kernel", "k", "--pages", "1g"]).err();
        let expected = "--pages: \"1g\" is not possible: give auto, 4k, thp or 2m";
        assert_eq!(error.as_deref(), Some(expected));
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
            &["run", "--kernel", "k", "--cpu", "vmx"],
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
