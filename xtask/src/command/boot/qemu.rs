//! Boots in QEMU's microvm, with KVM or without.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::options::{BootOptions, Vmm};
use super::prepare::files;
use crate::base::cache::Cache;
use crate::base::failure::usage;
use crate::base::files::read;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::machine::qemu::microvm::Microvm;
use crate::machine::qemu::{Ended, judge};

/// Boots, reports, and returns the exit status.
pub(super) fn boot(layout: &Layout, ui: &Ui, options: &BootOptions) -> Result<u8> {
    if options.runs.is_some()
        || options.cpus != 1
        || options.ready_fd.is_some()
        || !options.devices.is_empty()
    {
        return Err(usage(
            "--vmm qemu-kvm and qemu-tcg take no --runs, --cpus, --ready-fd or devices",
        ));
    }
    install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
    let (kernel, initrds) = files(layout, ui, options, false)?;
    let accelerator = if options.vmm == Vmm::QemuKvm {
        "kvm"
    } else {
        "tcg"
    };
    let stdout: Box<dyn Write + Send> = if options.build.json {
        Box::new(io::stderr())
    } else {
        Box::new(io::stdout())
    };
    let microvm = Microvm {
        kernel,
        archive: &initramfs(&initrds, options)?,
        options: &format!("isa-serial=on,rtc=off,accel={accelerator}"),
        cpu: "max",
        cpus: options.cpus,
        devices: &[],
        words: "",
        memory_mib: options.memory.mib(),
        restarts: false,
        timeout: options.timeout,
        stdout,
    };
    let ended = microvm.run(Cache::open()?.scratch()?.path())?;
    report(ui, options, &ended, accelerator)
}

/// The archives and, after them, the program.
fn initramfs(initrds: &[PathBuf], options: &BootOptions) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for initrd in initrds {
        archive.extend(read(initrd)?);
        // An archive must begin at a multiple of four bytes.
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    if let Some(payload) = options.payload()? {
        // QEMU's debug devices are for output only, so the program gets no input.
        archive.extend(payload.archive(0)?);
    }
    Ok(archive)
}

fn report(ui: &Ui, options: &BootOptions, ended: &Ended, accelerator: &str) -> Result<u8> {
    let (outcome, status) = judge(ended, options.payload()?.is_some())?;
    if options.build.json {
        let ready = ended.ready.unwrap_or_default();
        let ready = u64::try_from(ready.as_micros()).unwrap_or(u64::MAX);
        let report = json!({"schema": 1, "outcome": outcome, "exit_code": status, "vmm": format!("qemu-{accelerator}"),
                "memory_mib": options.memory.mib(), "cpus": 1, "us": {"to_ready": ready}});
        print(&report.to_string())?;
    } else if let Some(ready) = ended.ready {
        ui.say(&format!(
            "{outcome}: ready after {:.0} ms, including QEMU's own start",
            ready.as_secs_f64() * 1e3
        ));
    }
    Ok(status)
}
