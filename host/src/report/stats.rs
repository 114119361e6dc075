//! KVM's own counters, read from the file of `KVM_GET_STATS_FD`.
//!
//! Source of the layout: Documentation/virt/kvm/api.rst, "KVM_GET_STATS_FD".
//! unsafe lives here because kvm-ioctls has no call for it.
#![allow(unsafe_code)]

use crate::base::bytes::{u16_at, u32_at};
use kvm_ioctls::VcpuFd;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// `_IO(KVMIO, 0xce)`.
const KVM_GET_STATS_FD: libc::c_ulong = 0xaece;

/// More counters than any KVM has; a bound on what is read.
const MAX_COUNTERS: u32 = 4096;

/// Counters of one vCPU by KVM's names.
pub type Stats = BTreeMap<String, u64>;

/// Where in the file some counters are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection<const N: usize>([Option<u64>; N]);

/// The counters' file.
#[derive(Debug)]
pub(crate) struct StatsFile(File);

impl StatsFile {
    /// Opens the counters of a vCPU; `None` where KVM has none (before Linux 5.14).
    #[must_use]
    pub(crate) fn open(vcpu: &VcpuFd) -> Option<Self> {
        // SAFETY: the call takes no argument and gives a new descriptor or an error.
        let fd = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_STATS_FD, 0) };
        // SAFETY: the descriptor is new and ours.
        (fd >= 0).then(|| StatsFile(unsafe { File::from_raw_fd(fd) }))
    }

    /// Reads all counters that have one value; empty if the file is not as documented.
    #[must_use]
    pub(crate) fn read(&self) -> Stats {
        self.try_read().unwrap_or_default()
    }

    fn try_read(&self) -> Option<Stats> {
        let mut stats = Stats::new();
        for (name, offset) in self.layout()? {
            stats.insert(name, self.value(offset)?);
        }
        Some(stats)
    }

    /// Finds counters once, so that reading them again is cheap; one that this KVM does not have reads as 0.
    #[must_use]
    pub(crate) fn select<const N: usize>(&self, names: [&str; N]) -> Option<Selection<N>> {
        let layout = self.layout()?;
        let offset = |wanted| {
            layout
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|found| found.1)
        };
        Some(Selection(names.map(offset)))
    }

    /// Reads the counters selected.
    #[must_use]
    pub(crate) fn values<const N: usize>(&self, selection: &Selection<N>) -> [u64; N] {
        selection
            .0
            .map(|offset| offset.and_then(|offset| self.value(offset)).unwrap_or(0))
    }

    fn value(&self, offset: u64) -> Option<u64> {
        let mut value = [0; 8];
        self.0.read_exact_at(&mut value, offset).ok()?;
        Some(u64::from_le_bytes(value))
    }

    /// Names of the counters that have one value, and where in the file these are.
    fn layout(&self) -> Option<Vec<(String, u64)>> {
        let mut header = [0; 24];
        self.0.read_exact_at(&mut header, 0).ok()?;
        let word = |index: usize| u32_at(&header, 4 * index);
        let (name_size, count) = (word(1)?.min(4096), word(2)?.min(MAX_COUNTERS));
        let (descriptors, data) = (u64::from(word(4)?), u64::from(word(5)?));
        let size = 16 + name_size as usize;
        let mut table = vec![0; size * count as usize];
        self.0.read_exact_at(&mut table, descriptors).ok()?;
        let mut layout = Vec::new();
        for descriptor in table.chunks_exact(size) {
            if u16_at(descriptor, 6)? != 1 {
                continue;
            }
            let offset = data + u64::from(u32_at(descriptor, 8)?);
            let name = descriptor[16..].split(|&byte| byte == 0).next()?;
            layout.push((String::from_utf8_lossy(name).into_owned(), offset));
        }
        Some(layout)
    }
}
