//! `--jail DIR`: what the runner cannot reach while a guest runs, beyond what [`super::seccomp`] forbids it to ask for.
//!
//! Everything is opened before, so the jail needs no files: an empty directory does, or one with the sockets that a guest
//! with vsock connects to. It cuts off the file system, the network, other processes' IPC, and every privilege.
//!
//! unsafe lives here because rustix marks leaving a namespace as unsafe: file descriptors may then mean other things.
#![allow(unsafe_code)]

use super::landlock;
use crate::error::{Error, Result};
use rustix::io::Errno;
use rustix::process::{chdir, chroot, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, UnshareFlags, set_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};
use std::path::Path;

/// The user and group that own nothing (`nobody` and `nogroup` in most distributions).
const NOBODY: u32 = 65534;

/// Locks this process up in a directory: namespaces of its own for mounts, network, IPC and host name; the directory as
/// its root; an unprivileged user, if root started it; and, where the kernel has Landlock, no use even of the files of
/// that directory. The process must have one thread only.
///
/// # Errors
/// [`Error::Jail`].
pub(crate) fn enter(dir: &Path) -> Result<()> {
    let failed = |step, error| Error::Jail {
        path: dir.to_owned(),
        step,
        error,
    };
    let at = |step| move |errno: Errno| failed(step, errno.into());
    let root = geteuid().is_root();
    let mut spaces =
        UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    // Others than root may only do this inside of a user namespace, where they stay who they are.
    spaces.set(UnshareFlags::NEWUSER, !root);
    // SAFETY: the file descriptor table stays shared.
    unsafe { unshare_unsafe(spaces) }.map_err(at("unshare"))?;
    chroot(dir).map_err(at("chroot"))?;
    chdir("/").map_err(at("chdir"))?;
    if root {
        become_nobody().map_err(|(step, errno)| failed(step, errno.into()))?;
    }
    // Users who entered a namespace of their own have all privileges inside of it until they drop them.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(at("capset"))?;
    // Landlock requires that a process can gain nothing by starting a program.
    set_no_new_privs(true).map_err(at("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    landlock::restrict().map_err(|error| failed("Landlock", error))
}

/// Changes the calling thread's user, which is the process's only one.
fn become_nobody() -> std::result::Result<(), (&'static str, Errno)> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[]).map_err(|errno| ("setgroups", errno))?;
    set_thread_res_gid(group, group, group).map_err(|errno| ("setresgid", errno))?;
    set_thread_res_uid(user, user, user).map_err(|errno| ("setresuid", errno))
}
