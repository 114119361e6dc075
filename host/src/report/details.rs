//! The part of a report that takes time to find out: collected after the clock has stopped.

use super::schema::{Exits, KernelInfo, Kind, Report};
use super::stats::Stats;
use crate::base::bytes::hex;
use crate::base::cast::to_usize;
use crate::layout::PAGE;
use crate::load::kernel::Kernel;
use crate::memory::GuestMemory;
use crate::memory::guest::Region;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// What is opened before the runner is confined.
#[derive(Debug)]
pub(crate) struct Details {
    /// Where software KVM shows which pages were touched.
    pagemap: Option<File>,
    /// Where the kernel tells how much was resident.
    status: Option<File>,
    /// The kernel's identity: of machines that share one, the first finds it out.
    kernel: OnceLock<KernelInfo>,
}

impl Details {
    /// Opens what the details of a boot take.
    #[must_use]
    pub(crate) fn prepare() -> Self {
        Details {
            pagemap: File::open("/proc/self/pagemap").ok(),
            status: File::open("/proc/self/status").ok(),
            kernel: OnceLock::new(),
        }
    }

    /// Adds a run's counters and the kernel's identity.
    pub(crate) fn add(
        &self,
        report: &mut Report,
        stats: &Stats,
        memory: &GuestMemory,
        kernel: &Kernel,
        profile: &str,
    ) {
        let counter = |name: &str| stats.get(name).copied();
        report.exits = exits(stats);
        // Only software KVM runs the guest's supervisor code by emulation, so only there this counts instructions.
        if report.kvm.kind == Kind::Software
            && let Some(count) = counter("insn_emulation")
        {
            report.guest_instructions = count;
            report.instruction_source = "kvm-stats".to_owned();
        }
        report.pages_touched = match report.kvm.kind {
            Kind::Software => self.mapped_pages(memory.regions()),
            // Each page that a guest touches first is one nested page fault.
            Kind::Hardware | Kind::Lab => counter("pf_taken"),
        };
        report.rss_kib = self.status.as_ref().and_then(rss_kib).unwrap_or(0);
        let info = self.kernel.get_or_init(|| kernel_info(kernel, profile));
        report.kernel = info.clone();
    }

    /// Pages of guest memory that are mapped in this process, by bit 63 of /proc/self/pagemap's entries
    /// (Documentation/admin-guide/mm/pagemap.rst); `None` for a kernel without that file.
    pub(crate) fn mapped_pages(&self, regions: impl IntoIterator<Item = Region>) -> Option<u64> {
        let pagemap = self.pagemap.as_ref()?;
        let mut entries = vec![0; 1 << 16];
        let mut count = 0;
        for region in regions {
            let [mut at, end] = [region.hva, region.hva + region.len].map(|hva| hva / PAGE * 8);
            while at < end {
                let len = entries.len().min(to_usize(end - at));
                let read = pagemap.read_at(&mut entries[..len], at).ok()?;
                if read == 0 {
                    return None;
                }
                let present = |entry: &&[u8]| entry[7] & 0x80 != 0;
                count += entries[..read].chunks_exact(8).filter(present).count() as u64;
                at += read as u64;
            }
        }
        Some(count)
    }
}

fn exits(stats: &Stats) -> Exits {
    let counter = |name: &str| stats.get(name).copied();
    Exits {
        total: counter("exits"),
        io: counter("io_exits"),
        mmio: counter("mmio_exits"),
        irq: counter("irq_exits"),
        halt: counter("halt_exits"),
    }
}

fn rss_kib(status: &File) -> Option<u64> {
    kib(status, "VmHWM:")
}

/// The KiB behind a name, in a file of /proc/self that may be read again and again.
pub(crate) fn kib(file: &File, name: &str) -> Option<u64> {
    // Enough for both files: status has some 1.5 KiB, smaps_rollup less.
    let mut text = [0; 8192];
    let mut len = 0;
    while len < text.len() {
        match file.read_at(&mut text[len..], len as u64).ok()? {
            0 => break,
            read => len += read,
        }
    }
    let text = String::from_utf8_lossy(&text[..len]);
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn kernel_info(kernel: &Kernel, profile: &str) -> KernelInfo {
    let bytes = kernel.image();
    let digest = Sha256::digest(&bytes);
    KernelInfo {
        release: release(&bytes).unwrap_or_default(),
        profile: profile.to_owned(),
        sha256: hex(&digest),
        bytes: kernel.len(),
    }
}

/// The word after "Linux version " of the kernel's banner.
fn release(image: &[u8]) -> Option<String> {
    let marker = b"Linux version ";
    image
        .windows(marker.len())
        .enumerate()
        .filter(|(_, window)| window == marker)
        .find_map(|(at, _)| {
            let rest = &image[at + marker.len()..];
            let end = rest.iter().take(64).position(|byte| *byte == b' ')?;
            let word = str::from_utf8(&rest[..end]).ok()?;
            word.starts_with(|c: char| c.is_ascii_digit())
                .then(|| word.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_does_not_count_is_unknown() {
        let none = serde_json::to_value(exits(&Stats::new())).unwrap();
        let null = serde_json::Value::Null;
        assert!(
            none.as_object()
                .unwrap()
                .values()
                .all(|count| *count == null)
        );
        let some = exits(&Stats::from([
            ("exits".to_owned(), 7),
            ("io_exits".to_owned(), 0),
        ]));
        assert_eq!((some.total, some.io, some.halt), (Some(7), Some(0), None));
    }
}
