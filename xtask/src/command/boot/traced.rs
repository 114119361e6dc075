//! Boots for `cargo xtask trace`, with the runner's trace in a file.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiffy::report::Kind;

use super::options::{BootOptions, Vmm};
use super::prepare::{files, lab_run, on_this_machine};
use crate::base::cache::Cache;
use crate::base::failure::{FAULT, usage};
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::Ui;
use crate::machine::kvm::{On, measured_on};
use crate::machine::lab;

/// A boot that left a trace.
pub(crate) struct Traced {
    /// The kernel that ran.
    pub(crate) kernel: PathBuf,
    /// The runner's exit status.
    pub(crate) status: u8,
}

/// Boots with the trace written to `file`; in the lab unless this machine's KVM is hardware or was asked for.
pub(crate) fn trace(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    hz: u32,
    file: &Path,
) -> Result<Traced> {
    check(options)?;
    let kvm = measured_on(layout, options.on)?;
    let (kernel, initrds) = files(layout, ui, options, kvm == Some(Kind::Software))?;
    let mut args = options.runner();
    // --json is for the result of the trace; the runner's own report must not go to stdout.
    args.retain(|arg| arg != "--json");
    args.extend(["--sample-hz".into(), hz.to_string().into()]);
    if options.kernel.is_some() {
        args.extend(["--irqchip".into(), "pc".into()]);
    }
    let traced = |status| Traced {
        kernel: kernel.clone(),
        status,
    };
    if kvm == Some(Kind::Lab) {
        install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
        args.extend(["--trace".into(), "-".into()]);
        let files = (kernel.clone(), initrds);
        let run = lab::Run {
            options: args,
            json: false,
            stdout: Some(File::create(file).context("making the trace's file")?),
            ..lab_run(layout, options, files)?
        };
        return lab::run(layout, ui, &Cache::open()?, &options.build, &run).map(traced);
    }
    args.extend(["--trace".into(), file.into()]);
    // stdout is for the result, so the program's output goes to stderr.
    let status = on_this_machine(layout, options, &kernel, &initrds, args)?
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("running {}", layout.runner().display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(traced(code.unwrap_or(FAULT)))
}

/// Refuses options that make no sense with a trace.
fn check(options: &BootOptions) -> Result<()> {
    if options.vmm != Vmm::Host || options.ready_fd.is_some() {
        return Err(usage("trace takes neither --vmm nor --ready-fd"));
    }
    Ok(())
}

/// Boots in the lab and has QEMU log the code that it translates to `log`.
pub(crate) fn logged(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    log: &Path,
) -> Result<Traced> {
    check(options)?;
    if options.on == On::Host {
        return Err(usage(
            "--boot-text reads QEMU's log of the lab: it does not work with --on host",
        ));
    }
    install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
    let (kernel, initrds) = files(layout, ui, options, false)?;
    let mut run = lab_run(layout, options, (kernel.clone(), initrds))?;
    let logging: [OsString; 4] = ["-d".into(), "in_asm".into(), "-D".into(), log.into()];
    run.devices.qemu.extend(logging);
    // stdout is for the list.
    run.json = false;
    run.stdout = Some(File::create("/dev/null").context("opening /dev/null")?);
    let status = lab::run(layout, ui, &Cache::open()?, &options.build, &run)?;
    Ok(Traced { kernel, status })
}
