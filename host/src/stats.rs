//! KVM's own counters, read from the file of `KVM_GET_STATS_FD`.
//!
//! Source of the layout: Documentation/virt/kvm/api.rst, "KVM_GET_STATS_FD".
//! unsafe lives here because kvm-ioctls has no call for it.
#![allow(unsafe_code)]

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

/// The counters' file.
#[derive(Debug)]
pub struct StatsFile(File);

impl StatsFile {
    /// Opens the counters of a vCPU; `None` where KVM has none (before Linux 5.14).
    #[must_use]
    pub fn open(vcpu: &VcpuFd) -> Option<Self> {
        // SAFETY: the call takes no argument and gives a new descriptor or an error.
        let fd = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_STATS_FD, 0) };
        // SAFETY: the descriptor is new and ours.
        (fd >= 0).then(|| StatsFile(unsafe { File::from_raw_fd(fd) }))
    }

    /// Reads all counters that have one value; empty if the file is not as documented.
    #[must_use]
    pub fn read(&self) -> Stats {
        self.try_read().unwrap_or_default()
    }

    fn try_read(&self) -> Option<Stats> {
        let mut header = [0; 24];
        self.0.read_exact_at(&mut header, 0).ok()?;
        let word = |index: usize| u32_at(&header, 4 * index);
        let (name_size, count) = (word(1)?.min(4096), word(2)?.min(MAX_COUNTERS));
        let (descriptors, data) = (u64::from(word(4)?), u64::from(word(5)?));
        let size = 16 + name_size as usize;
        let mut table = vec![0; size * count as usize];
        self.0.read_exact_at(&mut table, descriptors).ok()?;
        let mut stats = Stats::new();
        for descriptor in table.chunks_exact(size) {
            let values = u16::from_le_bytes([descriptor[6], descriptor[7]]);
            if values != 1 {
                continue;
            }
            let mut value = [0; 8];
            let offset = data + u64::from(u32_at(descriptor, 8)?);
            self.0.read_exact_at(&mut value, offset).ok()?;
            let name = descriptor[16..].split(|&byte| byte == 0).next()?;
            stats.insert(
                String::from_utf8_lossy(name).into_owned(),
                u64::from_le_bytes(value),
            );
        }
        Some(stats)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}
