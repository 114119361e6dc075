//! The kernel under test, and the machines that it is booted in.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};

use super::judge;
use crate::base::cache::Cache;
use crate::base::layout::Layout;
use crate::guest::{payload, userland};
use crate::machine::qemu::Ended;
use crate::machine::qemu::microvm::Microvm;

/// The QEMU machine that is most like ours, with an RTC, whose memory survives a reset.
const MICROVM: &str = "accel=tcg,acpi=off,isa-serial=on,rtc=on,pit=on,pic=on";

/// Not memblock=zeroed: QEMU's firmware leaves data in memory, and so does the boot before a reset.
/// An oops ends the boot, because locks that are never released would block everything else.
const WORDS: &str = "console=ttyS0 oops=panic printk.devkmsg=on";

/// A kernel, and the machines that it is booted in.
pub(super) struct Guest<'a> {
    pub(super) layout: &'a Layout,
    pub(super) cache: Cache,
    pub(super) kernel: PathBuf,
    pub(super) memory_mib: u64,
    pub(super) cpus: u32,
    pub(super) words: String,
    pub(super) limit: Instant,
}

impl Guest<'_> {
    /// Boots once for each row. Returns the log and the faults in it.
    pub(super) fn boots(&self, rows: &[&str]) -> Result<(String, Vec<String>)> {
        let archive = payload::base(&userland::guest(self.layout)?)?;
        let rows = rows.join(" ");
        let scratch = self.cache.scratch()?;
        let ended = self.boot(
            scratch.path(),
            &archive,
            &[],
            &format!("-- prove {} {rows}", self.cpus),
            true,
        )?;
        let mut wrong = judge::log(&ended.said);
        if ended.timed_out {
            wrong.push(format!(
                "the time limit expired in {}",
                judge::last(&ended.said).unwrap_or("the first boot")
            ));
        } else if !judge::complete(&ended.said) {
            wrong.push(format!(
                "the machine ended before all boots were done:\n{}",
                judge::tail(&ended.said)
            ));
        }
        Ok((ended.said, wrong))
    }

    /// Boots an archive, with these words appended to the kernel's command line.
    pub(super) fn boot(
        &self,
        scratch: &Path,
        archive: &[u8],
        devices: &[OsString],
        words: &str,
        restarts: bool,
    ) -> Result<Ended> {
        let Some(timeout) = self.limit.checked_duration_since(Instant::now()) else {
            bail!("no time is left: raise --timeout");
        };
        let microvm = Microvm {
            kernel: self.kernel.clone(),
            archive,
            options: MICROVM,
            cpu: "max",
            cpus: self.cpus,
            devices,
            words: &format!("{WORDS} {} {words}", self.words),
            memory_mib: self.memory_mib,
            restarts,
            timeout,
            stdout: Box::new(io::sink()),
        };
        microvm.run(scratch)
    }
}
