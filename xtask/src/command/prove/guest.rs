//! The kernel that is proved, and the machines that it is booted in.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::judge;
use crate::base::cache::Cache;
use crate::base::files::{read, write};
use crate::base::layout::Layout;
use crate::guest::userland;
use crate::machine::qemu::microvm::MICROVM_WORDS;
use crate::machine::qemu::{self, Ended, Machine};

/// The machine: as much like ours as QEMU has one, with a clock that keeps its bytes when all else is reset.
const MICROVM: &str = "microvm,accel=tcg,acpi=off,isa-serial=on,rtc=on,pit=on,pic=on";

/// Without memblock=zeroed: QEMU's firmware leaves bytes, and every boot but the first finds those of the one before it.
/// An oops ends the boot, since locks that nobody gives back would only hold up those behind it.
const WORDS: &str = "console=ttyS0 panic=-1 oops=panic reboot=t printk.devkmsg=on";

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
    /// Boots once for each row; the log, and what is wrong with it.
    pub(super) fn boots(&self, rows: &[&str]) -> Result<(String, Vec<String>)> {
        let mut archive = Vec::new();
        jiffy::payload::base(&read(&userland::guest(self.layout)?)?, &mut archive)
            .context("packing the initramfs")?;
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
                "out of time in {}",
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

    /// Boots an archive, with more words for the kernel behind its own.
    pub(super) fn boot(
        &self,
        scratch: &Path,
        archive: &[u8],
        devices: &[OsString],
        words: &str,
        restarts: bool,
    ) -> Result<Ended> {
        let initramfs = scratch.join("initramfs.cpio");
        write(&initramfs, archive)?;
        let cpus = self.cpus.to_string();
        let Some(timeout) = self.limit.checked_duration_since(Instant::now()) else {
            bail!("no time is left");
        };
        qemu::run(
            Machine {
                hardware: &["-M", MICROVM, "-cpu", "max", "-smp", &cpus],
                devices,
                kernel: self.kernel.clone(),
                initramfs,
                command_line: format!("{WORDS} {MICROVM_WORDS} {} {words}", self.words),
                memory_mib: self.memory_mib,
                restarts,
                timeout,
                stdout: Box::new(io::sink()),
            },
            scratch,
        )
    }
}
