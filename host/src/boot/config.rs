//! What to boot, and how.

use crate::devices::Spec;
use crate::devices::irqchip::Irqchip;
use crate::load::entry::Protocol;
use crate::load::initramfs::Archive;
use crate::machine::cpuid::CpuFeatures;
use crate::memory::{MemorySize, Pages};
use rustix::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What to boot, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// A vmlinux.
    pub kernel: PathBuf,
    /// How to enter it.
    pub entry: Protocol,
    /// The archives of the initramfs, in sequence.
    pub initramfs: Vec<Archive>,
    /// Added to the command line that jiffy gives; a word `-X` removes its parameter `X`.
    pub command_line: String,
    /// Guest memory.
    pub memory: MemorySize,
    /// The number of vCPUs.
    pub cpus: u8,
    /// What the guest's processor has on request.
    pub cpu: CpuFeatures,
    /// What backs guest memory.
    pub pages: Pages,
    /// Interrupt hardware.
    pub irqchip: Irqchip,
    /// The guest's devices.
    pub devices: Vec<Spec>,
    /// The longest that the guest may run.
    pub timeout: Duration,
    /// One byte 0x01 is written here at ready.
    pub ready_fd: Option<Arc<OwnedFd>>,
    /// Whether to collect counters and the kernel's checksum for the report.
    pub detailed: bool,
    /// A directory to lock the process up in before the guest runs.
    pub jail: Option<PathBuf>,
    /// Whether to confine the calling thread by a seccomp filter before the guest runs. It stays confined.
    pub seccomp: bool,
    /// The program that PID 1 runs, to be named in messages.
    pub program: Option<PathBuf>,
    /// The profile's name, for the report.
    pub profile: String,
    /// Samples per second, for a trace.
    pub trace: Option<u32>,
}

impl Config {
    /// A machine with 128 MiB and one vCPU that boots this vmlinux, for at most a minute, in a confined thread.
    #[must_use]
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Config {
            kernel: kernel.into(),
            entry: Protocol::default(),
            initramfs: Vec::new(),
            command_line: String::new(),
            memory: MemorySize::default(),
            cpus: 1,
            cpu: CpuFeatures::default(),
            pages: Pages::default(),
            irqchip: Irqchip::default(),
            devices: Vec::new(),
            timeout: Duration::from_secs(60),
            ready_fd: None,
            detailed: false,
            jail: None,
            seccomp: true,
            program: None,
            profile: String::new(),
            trace: None,
        }
    }
}
