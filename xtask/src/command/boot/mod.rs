//! `cargo xtask boot`: build what is missing and boot it, with a program if one is named.

mod options;
mod qemu;
mod traced;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::base::cache::Cache;
use crate::base::failure::{fault, usage};
use crate::base::files::existing;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::Ui;
use crate::base::units::{mebibytes, seconds};
use crate::guest::artefacts::{self, Artefacts};
use crate::guest::userland;
use crate::kernel::foreign;
use crate::machine::kvm::{self, On, Probe};
use crate::machine::lab;
use qemu::Vmm;

pub(crate) use options::BootOptions;
pub(crate) use traced::{logged, trace};

/// Runs the command; the status is the guest program's where there is one.
pub(crate) fn run(layout: &Layout, options: &BootOptions) -> Result<ExitCode> {
    let ui = Ui::new(options.build.quiet);
    let timeout = seconds(&options.timeout)?;
    let memory_mib = mebibytes(&options.memory)?;
    if let Some(payload) = options.payload() {
        payload.check()?;
    }
    if options.vmm != Vmm::Host {
        return qemu::boot(layout, &ui, options, memory_mib, timeout).map(ExitCode::from);
    }
    let needs_lab = options.on == On::Lab;
    let probe = if needs_lab {
        None
    } else {
        Some(kvm::probe(layout)?)
    };
    match probe {
        Some(probe) if probe.kind != "none" => on_host(layout, &ui, options, &probe),
        Some(probe) if options.on == On::Host => Err(fault(format!(
            "this machine's KVM cannot be used: {}; `--on lab` needs none",
            probe.reason
        ))),
        other => {
            if let Some(probe) = other {
                ui.say(&format!("{}; booting in the lab instead", probe.reason));
            }
            in_lab(layout, &ui, options, memory_mib, timeout).map(ExitCode::from)
        }
    }
}

/// The kernel and the archives of the initramfs, ours or the user's.
fn files(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    compat: bool,
) -> Result<(PathBuf, Vec<PathBuf>)> {
    let kernel = options
        .kernel
        .as_deref()
        .map(|file| existing("--kernel", file))
        .transpose()?
        .map(|file| foreign::vmlinux(layout, ui, &file, options.build.install))
        .transpose()?;
    let initrds = options
        .initrd
        .iter()
        .map(|file| existing("--initrd", file))
        .collect::<Result<Vec<_>>>()?;
    if let Some(kernel) = kernel {
        if initrds.is_empty() {
            let ours = userland::initramfs(layout, &options.build.profile)?;
            return Ok((kernel, vec![ours]));
        }
        return Ok((kernel, initrds));
    }
    let Artefacts {
        vmlinux,
        compat: built,
        initramfs,
    } = artefacts::build(layout, ui, &options.build, compat)?;
    let initrds = if initrds.is_empty() {
        initramfs.into_iter().collect()
    } else {
        initrds
    };
    Ok((built.unwrap_or(vmlinux), initrds))
}

/// The runner's command for a boot on this machine. It was built when it was asked what KVM there is.
fn on_this_machine(
    layout: &Layout,
    options: &BootOptions,
    kernel: &Path,
    initrds: &[PathBuf],
    mut args: Vec<OsString>,
) -> Result<Command> {
    let runner = layout.runner();
    args.extend(options.devices.on_host(layout)?);
    for initrd in initrds {
        args.extend(["--initrd".into(), initrd.into()]);
    }
    if !options.program.is_empty() {
        args.push("--".into());
        args.extend(options.program.iter().cloned());
    }
    let sh = Shell::new()?;
    Ok(cmd!(sh, "{runner} run --kernel {kernel} {args...}")
        .quiet()
        .into())
}

/// Becomes the runner: its streams, signals and exit status are ours.
fn on_host(layout: &Layout, ui: &Ui, options: &BootOptions, probe: &Probe) -> Result<ExitCode> {
    let software = probe.kind == "software";
    let (kernel, initrds) = files(layout, ui, options, software)?;
    if software {
        ui.say("this processor has no virtualization: KVM emulates the kernel, so times are no boot times (see --on lab)");
    }
    let mut args = options.runner();
    if let Some(fd) = options.ready_fd {
        args.extend(["--ready-fd".into(), fd.to_string().into()]);
    }
    let error = on_this_machine(layout, options, &kernel, &initrds, args)?.exec();
    Err(error).with_context(|| format!("running {}", layout.runner().display()))
}

fn in_lab(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    memory_mib: u64,
    timeout: Duration,
) -> Result<u8> {
    if options.ready_fd.is_some() {
        return Err(usage(
            "--ready-fd: the lab's descriptors are not this machine's; use it with --on host",
        ));
    }
    install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
    let files = files(layout, ui, options, false)?;
    let run = lab_run(layout, options, memory_mib, timeout, files)?;
    lab::run(layout, ui, &Cache::open()?, &options.build, &run)
}

/// The run in the lab that the options ask for, of these files.
fn lab_run(
    layout: &Layout,
    options: &BootOptions,
    memory_mib: u64,
    timeout: Duration,
    (kernel, initrds): (PathBuf, Vec<PathBuf>),
) -> Result<lab::Run> {
    Ok(lab::Run {
        kernel,
        initrds,
        memory_mib,
        options: options.runner(),
        devices: options.devices.in_lab(layout)?,
        timeout,
        json: options.build.json,
        payload: options.payload(),
        stdout: None,
    })
}
