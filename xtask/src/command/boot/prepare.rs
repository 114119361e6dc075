//! Prepares a boot: its files, and the runner's command on this machine or in the lab.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use xshell::{Shell, cmd};

use super::options::BootOptions;
use crate::base::files::existing;
use crate::base::layout::Layout;
use crate::base::ui::Ui;
use crate::guest::artefacts::{self, Artefacts};
use crate::guest::userland;
use crate::kernel::foreign;
use crate::machine::lab;

/// The kernel and the archives of the initramfs, built by us or given by the user.
pub(super) fn files(
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
        .map(|file| foreign::vmlinux(layout, ui, &file))
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

/// The runner's command for a boot on this machine. The runner has been built already, to probe KVM.
pub(super) fn on_this_machine(
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
    args.extend(options.program_settings()?);
    if !options.program.is_empty() {
        args.push("--".into());
        args.extend(options.program.iter().cloned());
    }
    let sh = Shell::new()?;
    Ok(cmd!(sh, "{runner} run --kernel {kernel} {args...}")
        .quiet()
        .into())
}

/// A run of these files in the lab, as the options ask for.
pub(super) fn lab_run(
    layout: &Layout,
    options: &BootOptions,
    (kernel, initrds): (PathBuf, Vec<PathBuf>),
) -> Result<lab::Run> {
    Ok(lab::Run {
        kernel,
        initrds,
        memory_mib: options.memory.mib(),
        options: lab_options(options)?,
        devices: options.devices.in_lab(layout)?,
        timeout: options.timeout,
        json: options.build.json,
        payload: options.payload()?,
        stdout: None,
    })
}

/// The runner's options in the lab. A program of this machine is packed here, with its settings.
fn lab_options(options: &BootOptions) -> Result<Vec<OsString>> {
    let mut all = options.runner();
    if options.devices.has_root() {
        all.extend(options.program_settings()?);
    }
    Ok(all)
}
