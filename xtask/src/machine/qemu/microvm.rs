//! QEMU's microvm machine, without our runner.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::ended::Ended;
use super::machine::{self, Machine};
use crate::base::files::write;

/// A panic or a restart ends the machine. Without KVM, the kernel checks the timer by counting its interrupts in a period of
/// the host's clock; on a busy host that fails, and it panics with "IO-APIC + timer doesn't work".
const COMMAND_LINE: &str = "panic=-1 reboot=t no_timer_check";

/// A guest to boot in it.
pub(crate) struct Microvm<'a> {
    /// The kernel, a vmlinux with a PVH entry.
    pub(crate) kernel: PathBuf,
    /// The initramfs.
    pub(crate) archive: &'a [u8],
    /// Options of QEMU's `-M` after the machine's name: accelerator and on-board devices.
    pub(crate) options: &'a str,
    /// The processor, as QEMU's `-cpu` takes it.
    pub(crate) cpu: &'a str,
    /// Processors.
    pub(crate) cpus: u32,
    /// Devices, as QEMU's arguments.
    pub(crate) devices: &'a [OsString],
    /// More of the kernel's command line.
    pub(crate) words: &'a str,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Whether a reset restarts the machine with the same memory; otherwise it ends it.
    pub(crate) restarts: bool,
    /// How long QEMU may run, in real time.
    pub(crate) timeout: Duration,
    /// Where the program's standard output goes.
    pub(crate) stdout: Box<dyn Write + Send>,
}

impl Microvm<'_> {
    /// Runs the machine to its end, with its files in `scratch`.
    pub(crate) fn run(self, scratch: &Path) -> Result<Ended> {
        let initramfs = scratch.join("initramfs.cpio");
        write(&initramfs, self.archive)?;
        let options = format!("microvm,{}", self.options);
        let cpus = self.cpus.to_string();
        let command_line = format!("{COMMAND_LINE} {}", self.words);
        machine::run(
            Machine {
                hardware: &["-M", &options, "-cpu", self.cpu, "-smp", &cpus],
                devices: self.devices,
                kernel: self.kernel,
                initramfs,
                command_line,
                memory_mib: self.memory_mib,
                restarts: self.restarts,
                timeout: self.timeout,
                stdout: self.stdout,
            },
            scratch,
        )
    }
}
