//! `cargo xtask boot`: build what is missing and boot it, with a program if one is named.

mod options;
mod prepare;
mod qemu;
mod traced;

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiffy::report::Kind;

use crate::base::cache::Cache;
use crate::base::failure::{fault, usage};
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::Ui;
use crate::machine::kvm::{self, On, Probe};
use crate::machine::lab;

use self::options::Vmm;
use self::prepare::{files, lab_run, on_this_machine};

pub(crate) use options::BootOptions;
pub(crate) use traced::{logged, trace};

/// Runs the command; the status is the guest program's where there is one.
pub(crate) fn run(layout: &Layout, options: &BootOptions) -> Result<ExitCode> {
    let ui = Ui::new(options.build.quiet);
    if let Some(payload) = options.payload()? {
        payload.check()?;
    }
    if options.vmm != Vmm::Host {
        return qemu::boot(layout, &ui, options).map(ExitCode::from);
    }
    let needs_lab = options.on == On::Lab;
    let probe = if needs_lab {
        None
    } else {
        Some(kvm::probe(layout)?)
    };
    match probe {
        Some(probe) if probe.kind.is_some() => on_host(layout, &ui, options, &probe),
        Some(probe) if options.on == On::Host => Err(fault(format!(
            "this machine's KVM cannot be used: {}; use `--on lab`, which needs none",
            probe.reason
        ))),
        other => {
            if let Some(probe) = other {
                ui.say(&format!("{}; booting in the lab instead", probe.reason));
            }
            in_lab(layout, &ui, options).map(ExitCode::from)
        }
    }
}

/// Becomes the runner: its streams, signals and exit status are ours.
fn on_host(layout: &Layout, ui: &Ui, options: &BootOptions, probe: &Probe) -> Result<ExitCode> {
    let software = probe.kind == Some(Kind::Software);
    let (kernel, initrds) = files(layout, ui, options, software)?;
    if software {
        ui.say("this processor has no virtualization, so KVM emulates the kernel: the times are not real boot times (see --on lab)");
    }
    let mut args = options.runner();
    if let Some(fd) = options.ready_fd {
        args.extend(["--ready-fd".into(), fd.to_string().into()]);
    }
    let error = on_this_machine(layout, options, &kernel, &initrds, args)?.exec();
    Err(error).with_context(|| format!("running {}", layout.runner().display()))
}

fn in_lab(layout: &Layout, ui: &Ui, options: &BootOptions) -> Result<u8> {
    if options.ready_fd.is_some() {
        return Err(usage(
            "--ready-fd: the lab's descriptors are not this machine's; use it with --on host",
        ));
    }
    install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
    let files = files(layout, ui, options, false)?;
    let run = lab_run(layout, options, files)?;
    lab::run(layout, ui, &Cache::open()?, &options.build, &run)
}
