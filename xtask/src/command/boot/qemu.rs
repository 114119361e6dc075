//! A boot in QEMU's microvm, with its KVM or without.

use std::time::Duration;

use anyhow::Result;

use super::options::{BootOptions, Vmm};
use super::prepare::files;
use crate::base::cache::Cache;
use crate::base::failure::usage;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::Ui;
use crate::machine::qemu::microvm;

/// Boots, and gives the exit status.
pub(super) fn boot(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    memory_mib: u64,
    timeout: Duration,
) -> Result<u8> {
    if options.runs.is_some()
        || options.cpus != 1
        || options.ready_fd.is_some()
        || !options.devices.is_empty()
    {
        return Err(usage(
            "--vmm qemu-* takes no --runs, --cpus, --ready-fd or devices",
        ));
    }
    install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
    let (kernel, initrds) = files(layout, ui, options, false)?;
    let boot = microvm::Boot {
        accelerator: if options.vmm == Vmm::QemuKvm {
            "kvm"
        } else {
            "tcg"
        },
        kernel,
        initrds,
        memory_mib,
        timeout,
        json: options.build.json,
        payload: options.payload(),
    };
    microvm::boot(ui, &Cache::open()?, &boot)
}
