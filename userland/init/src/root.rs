//! A root file system on a disk.

use crate::failed;
use core::ffi::CStr;
use jiffy_abi::payload::{Payload, ROOT};
use jiffy_abi::verdict::{Stage, Verdict};
use rustix::fs::Mode;
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, mount, mount_move, mount_remount};
use rustix::process::{chdir, chroot};

/// Where it is mounted before it is the root.
const AT: &CStr = c"/.root";

/// Makes the first disk the root, if the payload is there.
pub(crate) fn enter(payload: &Payload<'_>) -> core::result::Result<(), Verdict> {
    if payload.flags & ROOT == 0 {
        return Ok(());
    }
    become_root().map_err(failed(Stage::Root))
}

fn become_root() -> Result<()> {
    // The disk's name comes with the kernel's own /dev; a second mount of that, in the root, is the same one.
    mount(c"devtmpfs", c"/dev", c"devtmpfs", MountFlags::NOSUID, None)?;
    rustix::fs::mkdir(AT, Mode::RWXU)?;
    let disk = |flags| mount(c"/dev/vda", AT, c"ext4", flags, None);
    match disk(MountFlags::empty()) {
        // The disk is read-only.
        Err(Errno::ROFS | Errno::ACCESS) => disk(MountFlags::RDONLY)?,
        other => other?,
    }
    chdir(AT)?;
    mount_move(c".", c"/")?;
    chroot(c".")
}

/// Leaves the disk as after an orderly end, as far as programs that still run let it.
pub(crate) fn leave(payload: &Payload<'_>) {
    if payload.flags & ROOT != 0 {
        let _ = mount_remount(c"/", MountFlags::RDONLY, c"");
    }
}
