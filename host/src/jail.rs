//! `--jail DIR`: what the runner cannot reach while a guest runs, beyond what [`crate::seccomp`] forbids it to ask for.
//!
//! Everything is opened before, so the jail needs no files: an empty directory does, or one with the sockets that a guest
//! with vsock connects to. What is cut off is the file system, the network, other processes' IPC, and every privilege.
//!
//! unsafe lives here because rustix changes users and namespaces for one thread only, and says so by being unsafe.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::landlock;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The user and group that own nothing (`nobody` and `nogroup` of most distributions).
const NOBODY: libc::c_uint = 65534;

/// Locks this process up in a directory: namespaces of its own for mounts, network, IPC and host name, the directory as
/// its root, and, if it was started by root, an unprivileged user; and, where the kernel has Landlock, not even the files of that
/// directory. It must have one thread only.
///
/// # Errors
/// [`Error::Jail`].
pub fn enter(dir: &Path) -> Result<()> {
    let failed = |step| Error::Jail {
        path: dir.to_owned(),
        step,
        error: io::Error::last_os_error(),
    };
    let path = CString::new(dir.as_os_str().as_bytes()).map_err(|_| Error::Jail {
        path: dir.to_owned(),
        step: "reading its name",
        error: io::ErrorKind::InvalidInput.into(),
    })?;
    let spaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    // SAFETY: the calls change what this process may reach and no memory; the paths are strings that end in NUL.
    unsafe {
        let root = libc::geteuid() == 0;
        // Others than root may only do this inside of a user namespace, where they stay who they are.
        let user = if root { 0 } else { libc::CLONE_NEWUSER };
        let steps: [(&'static str, &dyn Fn() -> libc::c_int); 6] = [
            ("unshare", &|| libc::unshare(spaces | user)),
            ("chroot", &|| libc::chroot(path.as_ptr())),
            ("chdir", &|| libc::chdir(c"/".as_ptr())),
            ("setgroups", &|| {
                if root {
                    libc::setgroups(0, std::ptr::null())
                } else {
                    0
                }
            }),
            ("setresgid", &|| {
                if root {
                    libc::setresgid(NOBODY, NOBODY, NOBODY)
                } else {
                    0
                }
            }),
            ("setresuid", &|| {
                if root {
                    libc::setresuid(NOBODY, NOBODY, NOBODY)
                } else {
                    0
                }
            }),
        ];
        for (step, call) in steps {
            if call() != 0 {
                return Err(failed(step));
            }
        }
        // A user who entered a namespace of his own has all privileges inside of it until he drops them.
        drop_capabilities().map_err(|()| failed("capset"))?;
        // Landlock is for those who can gain nothing by starting a program.
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(failed("prctl(PR_SET_NO_NEW_PRIVS)"));
        }
    }
    landlock::restrict().map_err(|error| Error::Jail {
        path: dir.to_owned(),
        step: "Landlock",
        error,
    })
}

/// Gives up what a user namespace's first process may do inside of it.
fn drop_capabilities() -> std::result::Result<(), ()> {
    /// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let none = [0_u32; 6];
    // SAFETY: the structures of linux/capability.h: version and thread (0: this one), and twice three sets of 32.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) } {
        0 => Ok(()),
        _ => Err(()),
    }
}
