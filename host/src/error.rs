//! Everything that can go wrong in the runner, each with what to do next.

use std::io;
use std::path::PathBuf;

/// What the runner could not do. The message says what was tried, on what, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// /dev/kvm cannot be opened.
    #[error("cannot open /dev/kvm: {0}; {advice}", advice = kvm_advice(*.0))]
    NoKvm(io::ErrorKind),
    /// A KVM call failed.
    #[error("KVM call {call} failed: {error}; is this host's KVM older than Linux 5.14?")]
    Kvm {
        /// The call's name in the kernel's documentation.
        call: &'static str,
        /// What KVM answered.
        error: io::Error,
    },
    /// A system call outside KVM failed.
    #[error("{call} failed: {error}")]
    System {
        /// The call's name.
        call: &'static str,
        /// What the kernel answered.
        error: io::Error,
    },
    /// A file cannot be opened or read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A kernel image that cannot be booted.
    #[error("{path} is not a kernel that jiffy can boot: {reason}; give an x86-64 vmlinux")]
    Kernel {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        reason: KernelFault,
    },
    /// Something does not fit into guest memory.
    #[error(
        "{what} needs {needed} bytes of guest memory at {gpa:#x}, and the guest has {memory} MiB; use a larger --memory"
    )]
    DoesNotFit {
        /// What was to be placed.
        what: &'static str,
        /// Its size in bytes.
        needed: u64,
        /// The guest-physical address where it was to go.
        gpa: u64,
        /// The guest's memory in MiB.
        memory: u64,
    },
    /// Guest memory that is too small or too large.
    #[error("--memory {0} MiB is not possible: use 8 MiB to 1 TiB")]
    MemorySize(u64),
    /// The kernel command line is too long.
    #[error(
        "the kernel command line is {0} bytes long, and the kernel takes at most 2047; shorten --cmdline"
    )]
    CommandLine(usize),
    /// A guest address outside guest memory.
    #[error("guest address {gpa:#x} (+{len} bytes) is outside guest memory")]
    OutOfBounds {
        /// The guest-physical address.
        gpa: u64,
        /// The length in bytes.
        len: usize,
    },
    /// Several vCPUs where KVM emulates the guest's kernel.
    #[error(
        "--cpus {0}: this processor has no virtualization, and KVM emulates one vCPU only; use --cpus 1, or `cargo xtask boot --on lab`"
    )]
    EmulatedCpus(u8),
    /// A device of the guest cannot be made.
    #[error("{0}")]
    Device(String),
    /// The jail cannot be entered.
    #[error("--jail {path}: {step} failed: {error}; {advice}")]
    Jail {
        /// The directory.
        path: PathBuf,
        /// The call.
        step: &'static str,
        /// What the kernel answered.
        error: io::Error,
        /// What to do.
        advice: String,
    },
    /// The cgroup cannot be entered.
    #[error(
        "--cgroup {path}: {error}; give a directory of a cgroup file system whose cgroup.procs we may write to"
    )]
    Cgroup {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        error: io::Error,
    },
    /// The payload's output cannot be passed on.
    #[error("cannot write the guest's output: {0}")]
    Output(io::Error),
}

/// Why a file is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelFault {
    /// Not an ELF file, or one cut short.
    #[error("{0}")]
    Elf(String),
    /// An ELF file for 32 bits.
    #[error("it is a 32-bit ELF file")]
    Bits,
    /// An ELF file for another processor.
    #[error("it is built for another machine (ELF machine {0})")]
    Machine(u16),
    /// A segment that is not wholly in the file.
    #[error("it is cut short: a segment ends at byte {end} of a file of {len} bytes")]
    Truncated {
        /// Where the segment ends in the file.
        end: u64,
        /// The file's length.
        len: u64,
    },
    /// Segments that cannot be placed in guest memory.
    #[error("its segment at {gpa:#x} (+{len} bytes) is outside guest memory")]
    Segment {
        /// The segment's guest-physical address.
        gpa: u64,
        /// Its length in memory.
        len: u64,
    },
    /// No entry point: none in a segment, or none of PVH's where that was asked for.
    #[error(
        "it has no entry point in its segments and no note of one for PVH, or --entry pvh was given without such a note"
    )]
    Entry,
}

/// A value that is not one of those that a type takes. The message names the value and what to give instead; the option,
/// which only the caller knows, goes in front of it: `--pages: "1g" is not possible: give auto, 4k, thp or 2m`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not possible: give {expected}")]
pub struct ValueError {
    value: String,
    expected: &'static str,
}

impl ValueError {
    /// For this value, instead of which the user is to give `expected`.
    #[must_use]
    pub fn new(value: &str, expected: &'static str) -> Self {
        ValueError {
            value: value.to_owned(),
            expected,
        }
    }
}

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Names the KVM call that failed.
pub(crate) fn kvm(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
    move |error| Error::Kvm {
        call,
        error: error.into(),
    }
}

/// Names the system call that failed.
pub(crate) fn system(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |error| Error::System {
        call,
        error: error.into(),
    }
}

fn kvm_advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "load the kvm_intel or kvm_amd module, or boot in the lab with `cargo xtask boot --on lab`"
        }
        io::ErrorKind::PermissionDenied => {
            "add yourself to its group (`sudo usermod -aG kvm $USER`, then log in again), or use `cargo xtask boot --on lab`"
        }
        _ => "boot in the lab instead with `cargo xtask boot --on lab`",
    }
}
