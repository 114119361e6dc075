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

/// The user and group that own nothing (`nobody` and `nogroup` of most distributions).
const NOBODY: u32 = 65534;

/// What to do about most failures.
const GENERAL: &str =
    "give an existing directory, and run as root or where users may create namespaces";

/// Locks this process up in a directory: namespaces of its own for mounts, network, IPC and host name; the directory as
/// its root; an unprivileged user, if root started it; and, where the kernel has Landlock, no use even of the files of
/// that directory. The process must have one thread only.
///
/// # Errors
/// [`Error::Jail`].
pub(crate) fn enter(dir: &Path) -> Result<()> {
    let failed = |step, error, advice| Error::Jail {
        path: dir.to_owned(),
        step,
        error,
        advice,
    };
    let at = |step| move |errno: Errno| failed(step, errno.into(), GENERAL.to_owned());
    let root = geteuid().is_root();
    let mut spaces =
        UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    // Others than root may only do this inside of a user namespace, where they stay who they are.
    spaces.set(UnshareFlags::NEWUSER, !root);
    // SAFETY: the file descriptor table stays shared.
    unsafe { unshare_unsafe(spaces) }.map_err(|errno| {
        failed(
            "unshare",
            errno.into(),
            on_unshare(errno, root, &lacking(root)),
        )
    })?;
    chroot(dir).map_err(at("chroot"))?;
    chdir("/").map_err(at("chdir"))?;
    if root {
        become_nobody().map_err(|(step, errno)| at(step)(errno))?;
    }
    // Users who entered a namespace of their own have all privileges inside of it until they drop them.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(at("capset"))?;
    // Landlock is for those who can gain nothing by starting a program.
    set_no_new_privs(true).map_err(at("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    landlock::restrict().map_err(|error| failed("Landlock", error, GENERAL.to_owned()))
}

/// The namespaces that the kernel was built without, by the names of /proc/self/ns.
#[cold]
fn lacking(root: bool) -> Vec<&'static str> {
    let needed = ["mnt", "net", "ipc", "uts", "user"];
    let needed = needed.into_iter().take(if root { 4 } else { 5 });
    needed
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect()
}

/// What to do when namespaces cannot be had.
///
/// Source: unshare(2) and namespaces(7) of the manual pages, Documentation/admin-guide/sysctl/user.rst.
#[cold]
fn on_unshare(errno: Errno, root: bool, lacking: &[&str]) -> String {
    match errno {
        Errno::INVAL if !lacking.is_empty() => format!(
            "this kernel has no namespaces of these kinds: {} (CONFIG_NAMESPACES and one option for each); use another, \
             or run without --jail",
            lacking.join(", ")
        ),
        Errno::NOSPC => "the limit of namespaces is reached: raise those of `sysctl user`".to_owned(),
        Errno::PERM if !root => "users may not create namespaces here: run as root, or have root permit it by `sysctl \
             kernel.unprivileged_userns_clone=1` (Debian) or `kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu)"
            .to_owned(),
        Errno::PERM => "this root may not create namespaces, as in a container: give it CAP_SYS_ADMIN".to_owned(),
        _ => GENERAL.to_owned(),
    }
}

/// Changes the calling thread's user, which is the process's only one.
fn become_nobody() -> std::result::Result<(), (&'static str, Errno)> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[]).map_err(|errno| ("setgroups", errno))?;
    set_thread_res_gid(group, group, group).map_err(|errno| ("setresgid", errno))?;
    set_thread_res_uid(user, user, user).map_err(|errno| ("setresuid", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_namespaces_are_named() {
        let said = on_unshare(Errno::INVAL, true, &["ipc", "uts"]);
        assert!(said.contains("of these kinds: ipc, uts"), "{said}");
        assert!(on_unshare(Errno::PERM, false, &[]).contains("unprivileged_userns"));
        assert!(on_unshare(Errno::PERM, true, &[]).contains("CAP_SYS_ADMIN"));
        assert_eq!(on_unshare(Errno::INVAL, true, &[]), GENERAL);
    }
}
