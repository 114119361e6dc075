//! jiffy's runner: boots an x86-64 Linux under KVM and reports how it went.
//!
//! [`boot::boot`] is one boot from an open /dev/kvm to a [`report::Report`], [`fleet::boot`] many in one process. The
//! library never prints, never exits the process (but for the second signal of a user, who does not want to wait for the end
//! that the first asked for), and does not panic on what a guest or a file does: everything comes back
//! as an [`Error`] or a report.
//!
//! ```no_run
//! use jiffy::boot::{Archive, Config, Output, Stdin, boot};
//! use jiffy::report::Clock;
//! use std::fs::File;
//!
//! fn main() -> jiffy::Result<()> {
//!     let config = Config {
//!         initramfs: vec![Archive::File("initramfs.cpio".into())],
//!         // The calling thread would stay confined.
//!         seccomp: false,
//!         ..Config::new("vmlinux")
//!     };
//!     let output = Output {
//!         stdout: File::create("stdout").expect("a file").into(),
//!         stderr: File::create("stderr").expect("a file").into(),
//!     };
//!     let (report, _) = boot(config, output, Stdin::none(), Clock::now())?;
//!     println!("{} after {:.0} us", report.outcome, report.us.to_ready);
//!     Ok(())
//! }
//! ```
//!
//! Everything else is private; the fuzzers of `host/fuzz`, compiled with `cfg(fuzzing)`, find what they feed in the module
//! `fuzzing`.

// What the fuzzers use is `pub` in private modules, and reachable only for them.
#![cfg_attr(not(fuzzing), allow(unreachable_pub))]

mod base;
pub mod boot;
mod confine;
pub mod devices;
mod error;
mod explain;
pub mod fleet;
#[cfg(fuzzing)]
pub mod fuzzing;
mod layout;
mod load;
mod machine;
mod memory;
pub mod payload;
pub mod report;
mod software;
pub mod trace;

pub use confine::cgroup;
pub use error::{BzImageFault, Error, KernelFault, Result, ValueError};
pub use load::{bzimage, command_line};
