//! jiffy's runner: boots an x86-64 Linux under KVM and tells how it went.
//!
//! [`boot::boot`] is one boot from an open /dev/kvm to a [`report::Report`], [`fleet::boot`] many in one process. The library never prints, never exits
//! the process, and does not panic on what a guest or a file does: everything comes back as an [`Error`] or a report.
#![deny(unsafe_code)]

pub mod boot;
pub mod boot_params;
pub mod cgroup;
pub mod clock;
pub mod command_line;
pub mod cpuid;
pub mod details;
pub mod devices;
pub mod diagnose;
pub mod dmesg;
pub mod error;
pub mod fleet;
pub mod initramfs;
pub mod jail;
pub mod kernel;
pub mod landlock;
pub mod layout;
pub mod memory;
pub mod mptable;
pub mod paging;
pub mod payload;
pub mod ports;
pub mod probe;
pub mod pvh;
pub mod report;
pub mod run;
pub mod seccomp;
mod shared;
mod signals;
pub mod software;
pub mod stats;
pub mod stdin;
pub mod summary;
pub mod symbols;
mod team;
pub mod terminal;
pub mod trace;
pub mod vm;
pub mod watchdog;

pub use error::{Error, Result};
