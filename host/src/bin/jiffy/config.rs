//! From the options to what the library takes.

use crate::cli::Run;
use crate::io::{Error, duplicate, inherited, is_stdout};
use jiffy::boot::{Archive, Config, Output};
use jiffy::payload;
use jiffy_abi::payload::ROOT;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

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

/// Makes the configuration, and takes paths and texts out of the options. `streams` are the flags of
/// `jiffy_abi::payload` that say what the program's streams are.
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
        memory: run.memory,
        cpus: run.cpus,
        cpu: run.cpu,
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
