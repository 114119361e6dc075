//! The command line of `jiffy`. Written by hand over lexopt: a derive-style parser builds its whole command tree
//! at start, and start is what this program is about.

mod help;
mod values;

use crate::device_options;
use help::HELP;
use jiffy::devices::Spec;
use jiffy::kernel::Protocol;
use jiffy::memory::Pages;
use jiffy::vm::Irqchip;
use std::ffi::OsString;
use std::mem;
use std::path::PathBuf;
use std::time::Duration;

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
    pub(crate) cgroup: Option<PathBuf>,
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
            Long("entry") => run.entry = parser.value()?.parse_with(values::entry)?,
            Long("initrd") => run.initrd.push(parser.value()?.into()),
            Long("memory") => run.memory_mib = parser.value()?.parse_with(values::mebibytes)?,
            Long("cpus") => run.cpus = parser.value()?.parse_with(values::cpus)?,
            Long("pages") => run.pages = parser.value()?.parse_with(values::pages)?,
            Long("irqchip") => run.irqchip = parser.value()?.parse_with(values::irqchip)?,
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
            Long("timeout") => run.timeout = parser.value()?.parse_with(values::seconds)?,
            Long("stdin") => run.stdin = Some(parser.value()?.into()),
            Long("ready-fd") => {
                run.ready_fd = Some(parser.value()?.parse_with(values::descriptor)?)
            }
            Long("profile") => run.profile = parser.value()?.string()?,
            Long("runs") => run.runs = parser.value()?.parse_with(values::number)?,
            Long("count") => run.count = Some(parser.value()?.parse_with(values::number)?),
            Long("parallel") => run.parallel = Some(parser.value()?.parse_with(values::number)?),
            Long("report") => run.report = Some(parser.value()?.into()),
            Long("trace") => run.trace = Some(parser.value()?.into()),
            Long("sample-hz") => run.sample_hz = parser.value()?.parse_with(values::hertz)?,
            Long("json") => run.json = true,
            Long("quiet") => run.quiet = true,
            Long("jail") => run.jail = Some(parser.value()?.into()),
            Long("cgroup") => run.cgroup = Some(parser.value()?.into()),
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
    together(&run)?;
    Ok(Command::Run(Box::new(run)))
}

/// Refuses options that exclude each other.
fn together(run: &Run) -> Result<(), &'static str> {
    if run.count.is_some() && (run.runs > 1 || run.trace.is_some() || run.console) {
        return Err("--count takes no --runs, --trace or --console");
    }
    let opens = |spec: &Spec| !matches!(spec, Spec::Entropy | Spec::Balloon);
    if run.count.is_some() && run.jail.is_some() && run.devices.iter().any(opens) {
        // Each machine opens its own, where there are no files any more.
        return Err("--count takes no disk, network card or sockets with --jail");
    }
    if run.parallel.is_some() && run.count.is_none() {
        return Err("--parallel is for --count");
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
