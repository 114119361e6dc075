//! Landlock (Documentation/userspace-api/landlock.rst): what of files, ports and processes is out of reach for good, whoever
//! the process is and whatever its root holds. Older kernels know fewer of the rights, or have no Landlock.
//!
//! unsafe lives here because its system calls have no safe interface.
#![allow(unsafe_code)]

use linux_raw_sys::landlock::{
    LANDLOCK_ACCESS_FS_IOCTL_DEV, LANDLOCK_ACCESS_FS_MAKE_SYM, LANDLOCK_ACCESS_FS_REFER,
    LANDLOCK_ACCESS_FS_REMOVE_FILE, LANDLOCK_ACCESS_FS_TRUNCATE, LANDLOCK_ACCESS_NET_BIND_TCP,
    LANDLOCK_ACCESS_NET_CONNECT_TCP, LANDLOCK_CREATE_RULESET_VERSION,
    LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL, landlock_path_beneath_attr,
    landlock_rule_type, landlock_ruleset_attr,
};
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The rights that versions of Landlock added, each with its version.
type Since = (libc::c_long, u32);

/// Rights on files: all up to the last that version 1 knows, and those that came later.
const FILES: [Since; 4] = [
    (1, 2 * LANDLOCK_ACCESS_FS_MAKE_SYM - 1),
    (2, LANDLOCK_ACCESS_FS_REFER),
    (3, LANDLOCK_ACCESS_FS_TRUNCATE),
    (5, LANDLOCK_ACCESS_FS_IOCTL_DEV),
];

/// TCP ports to listen on and to connect to.
const PORTS: [Since; 1] = [(
    4,
    LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP,
)];

/// Abstract Unix sockets and signals of processes outside.
const SCOPES: [Since; 1] = [(
    6,
    LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL,
)];

/// The version of Landlock that the kernel has, 0 for none.
#[must_use]
pub(super) fn version() -> libc::c_long {
    // SAFETY: with this flag the call reads nothing and makes nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<landlock_ruleset_attr>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    version.max(0)
}

/// Forbids this thread, and those that it starts later, everything that the kernel's Landlock knows, except the removal of
/// files beneath the root: vsock removes its socket. Does nothing where there is no Landlock. Needs `no_new_privs`.
///
/// # Errors
/// What the kernel answered.
pub(super) fn restrict() -> io::Result<()> {
    let version = version();
    if version == 0 {
        return Ok(());
    }
    let known = |rights: &[Since]| {
        let known = rights.iter().filter(|(since, _)| version >= *since);
        known.fold(0, |all, (_, rights)| all | u64::from(*rights))
    };
    let ruleset = landlock_ruleset_attr {
        handled_access_fs: known(&FILES),
        handled_access_net: known(&PORTS),
        scoped: known(&SCOPES),
    };
    // SAFETY: the structures are the kernel's, and live through the calls; what an older kernel does not know of them is
    // zero, which it accepts. The descriptor is new and ours.
    unsafe {
        let made = checked(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruleset,
            size_of::<landlock_ruleset_attr>(),
            0,
        ))?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a file descriptor is an int"
        )]
        let made = OwnedFd::from_raw_fd(made as i32);
        let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let rule = landlock_path_beneath_attr {
            allowed_access: LANDLOCK_ACCESS_FS_REMOVE_FILE.into(),
            parent_fd: root.as_raw_fd(),
        };
        checked(libc::syscall(
            libc::SYS_landlock_add_rule,
            made.as_raw_fd(),
            landlock_rule_type::LANDLOCK_RULE_PATH_BENEATH as libc::c_uint,
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
