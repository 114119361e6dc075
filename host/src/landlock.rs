//! Landlock (Documentation/userspace-api/landlock.rst): what of files, ports and processes is out of reach for good, whoever the
//! process is and whatever its root holds. Where the kernel has it; older ones know fewer of the rights.
//!
//! unsafe lives here because its system calls have no safe interface.
#![allow(unsafe_code)]

use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Flags and constants of linux/landlock.h.
const CREATE_RULESET_VERSION: libc::c_uint = 1;
const RULE_PATH_BENEATH: libc::c_uint = 1;
const REMOVE_FILE: u64 = 1 << 5;

/// Rights on files that the first version knows, and those that came later, each with its version: to move between
/// directories, to truncate, to ask devices.
const FILES: u64 = (1 << 13) - 1;
const LATER: [(libc::c_long, u64); 3] = [(2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];

/// TCP ports to listen on and to connect to; abstract Unix sockets and signals beyond.
const PORTS: (libc::c_long, u64) = (4, 0b11);
const BEYOND: (libc::c_long, u64) = (6, 0b11);

/// `struct landlock_ruleset_attr`: what is forbidden where no rule allows it.
#[repr(C)]
struct Ruleset {
    files: u64,
    ports: u64,
    beyond: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    directory: i32,
}

/// The version of Landlock that the kernel has, 0 for none.
#[must_use]
pub fn version() -> libc::c_long {
    // SAFETY: with this flag the call reads nothing and makes nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    version.max(0)
}

/// Forbids this thread, and those that it starts later, everything that the kernel's Landlock knows, but for the removal of
/// files beneath the root: those of its sockets. Nothing happens where there is no Landlock. Needs `no_new_privs`.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn restrict() -> io::Result<()> {
    let version = version();
    if version == 0 {
        return Ok(());
    }
    let known = |(since, rights): (libc::c_long, u64)| if version >= since { rights } else { 0 };
    let ruleset = Ruleset {
        files: LATER
            .into_iter()
            .map(known)
            .fold(FILES, |all, one| all | one),
        ports: known(PORTS),
        beyond: known(BEYOND),
    };
    // SAFETY: the structures are the kernel's, and live through the calls; what an older kernel does not know of them is
    // zero, which it accepts. The descriptor is new and ours.
    unsafe {
        let made = checked(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruleset,
            size_of::<Ruleset>(),
            0,
        ))?;
        let made = OwnedFd::from_raw_fd(made as i32);
        let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let rule = Beneath {
            allowed: REMOVE_FILE,
            directory: root.as_raw_fd(),
        };
        checked(libc::syscall(
            libc::SYS_landlock_add_rule,
            made.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0,
        ))?;
        checked(libc::syscall(
            libc::SYS_landlock_restrict_self,
            made.as_raw_fd(),
            0,
        ))?;
    }
    Ok(())
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
