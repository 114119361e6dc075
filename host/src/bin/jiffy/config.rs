//! From the options to what the library takes.

use crate::cli::Run;
use crate::io::{Error, inherited, is_stdout};
use jiffy::boot::{Archive, Config, Descriptor, Output};
use jiffy::payload::{self, Settings};
use jiffy_abi::payload::ROOT;
use rustix::stdio::{stderr, stdout};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a program's output goes.
pub(crate) fn output(run: &Run) -> Output {
    let to_stderr = run.json || run.trace.as_deref().is_some_and(is_stdout);
    Output {
        stdout: Descriptor::Standard(if to_stderr { stderr() } else { stdout() }),
        stderr: Descriptor::Standard(stderr()),
    }
}

/// Makes the configuration, and takes paths and texts out of the options. `streams` are the flags of
/// `jiffy_abi::payload` that say what the program's streams are.
pub(crate) fn config(run: &mut Run, streams: u32) -> Result<Config, Error> {
    let archives = mem::take(&mut run.initrd).into_iter();
    let mut initramfs: Vec<_> = archives.map(Archive::File).collect();
    if let Some((program, args)) = run.program.split_first() {
        let settings = settings(run)?;
        let packed = if run.in_guest || run.root {
            let flags = streams | if run.root { ROOT } else { 0 };
            payload::in_guest(program, args, &settings, flags)?
        } else {
            payload::with_payload(program, args, &settings, streams)?
        };
        initramfs.push(Archive::Bytes(packed));
    }
    Ok(Config {
        kernel: mem::take(&mut run.kernel),
        entry: run.entry,
        initramfs,
        command_line: mem::take(&mut run.cmdline),
        memory: run.memory,
        cpus: run.cpus,
        cpu: run.cpu,
        pages: run.pages,
        irqchip: run.irqchip,
        acpi: run.acpi,
        devices: mem::take(&mut run.devices),
        timeout: run.timeout,
        ready_fd: run.ready_fd.map(inherited).transpose()?.map(Arc::new),
        detailed: run.json || run.report.is_some() || run.trace.is_some(),
        jail: run.jail.take(),
        seccomp: !run.no_seccomp,
        profile: mem::take(&mut run.profile),
        program: run.program.first().map(PathBuf::from),
        root: run.in_guest || run.root,
        trace: run.trace.is_some().then_some(run.sample_hz),
    })
}

/// What the program is started with. Names of users are this machine's, if the program is.
fn settings(run: &Run) -> Result<Settings, payload::Error> {
    let in_guest = run.in_guest || run.root;
    let mut settings = Settings::with_env(if in_guest {
        payload::guest_environment()
    } else {
        payload::environment()
    });
    if let Some(user) = &run.user {
        settings.set_user(user, (!in_guest).then_some(Path::new("/")))?;
    }
    settings.set_env(run.env.iter().cloned())?;
    if let Some(path) = &run.workdir {
        settings.set_workdir(path.clone())?;
    }
    if let Some(name) = &run.hostname {
        settings.set_hostname(name.clone())?;
    }
    settings.add.clone_from(&run.add);
    Ok(settings)
}
