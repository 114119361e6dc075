//! `--vmm qemu-tcg`: our kernel and PID 1 in QEMU's own small machine, without KVM and without our runner.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::ended::judge;
use super::machine::{self, Machine};
use crate::base::cache::Cache;
use crate::base::files::write;
use crate::base::ui::{Ui, print};
use crate::guest::payload::Payload;

/// The machine Firecracker was the model for.
const MICROVM: &str = "microvm,isa-serial=on,rtc=off";

/// What its kernel is told beside the end at a panic. Without KVM, the kernel counts some interrupts of the timer
/// in a time that it measures by the host's processor, and panics ("IO-APIC + timer doesn't work") on a host that is busy.
pub(crate) const MICROVM_WORDS: &str = "no_timer_check";

/// A boot in QEMU's microvm.
pub(crate) struct Boot<'a> {
    /// `tcg` or `kvm`.
    pub(crate) accelerator: &'a str,
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// The archives of the initramfs, in order.
    pub(crate) initrds: Vec<PathBuf>,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The longest it may take.
    pub(crate) timeout: Duration,
    /// JSON on stdout.
    pub(crate) json: bool,
    /// What to run.
    pub(crate) payload: Option<Payload>,
}

/// Boots, reports, and gives the exit status.
pub(crate) fn boot(ui: &Ui, cache: &Cache, boot: &Boot<'_>) -> Result<u8> {
    let scratch = cache.scratch()?;
    let mut archive = Vec::new();
    for initrd in &boot.initrds {
        archive.extend(crate::base::files::read(initrd)?);
        // An archive begins at a multiple of four.
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    if let Some(payload) = &boot.payload {
        // The ports of QEMU's debug devices take output only.
        archive.extend(payload.archive(0)?);
    }
    let initramfs = scratch.path().join("initramfs.cpio");
    write(&initramfs, &archive)?;
    let machine = format!("{MICROVM},accel={}", boot.accelerator);
    let ended = machine::run(
        Machine {
            hardware: &["-M", &machine, "-cpu", "max"],
            devices: &[],
            kernel: boot.kernel.clone(),
            initramfs,
            command_line: format!("panic=-1 reboot=t {MICROVM_WORDS}"),
            restarts: false,
            memory_mib: boot.memory_mib,
            timeout: boot.timeout,
            stdout: if boot.json {
                Box::new(io::stderr())
            } else {
                Box::new(io::stdout())
            },
        },
        scratch.path(),
    )?;
    let (outcome, status) = judge(&ended, boot.payload.is_some())?;
    if boot.json {
        let ready = ended.ready.unwrap_or_default().as_micros() as u64;
        let report = json!({"schema": 1, "outcome": outcome, "exit_code": status, "vmm": format!("qemu-{}", boot.accelerator),
                "memory_mib": boot.memory_mib, "cpus": 1, "us": {"to_ready": ready}});
        print(&report.to_string())?;
    } else if let Some(ready) = ended.ready {
        ui.say(&format!(
            "{outcome}: ready after {:.0} ms of QEMU, its start included",
            ready.as_secs_f64() * 1e3
        ));
    }
    Ok(status)
}
