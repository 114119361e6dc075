//! The file systems that a program expects, as far as the kernel has them.

use crate::failed;
use core::ffi::CStr;
use jiffy_abi::payload::{Payload, ROOT};
use jiffy_abi::verdict::{Stage, Verdict};
use rustix::fs::{CWD, Dev, FileType, Mode, makedev, mkdir, mknodat, symlink};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, mount};
use rustix::process::umask;

struct Row {
    target: &'static CStr,
    kind: &'static CStr,
    flags: MountFlags,
    options: Option<&'static CStr>,
    /// Of the directory: what a program sees where the file system is missing.
    mode: u16,
}

const NOTHING: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);
const NO_DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

const fn row(
    (target, mode): (&'static CStr, u16),
    kind: &'static CStr,
    flags: MountFlags,
    options: Option<&'static CStr>,
) -> Row {
    Row {
        target,
        kind,
        flags,
        options,
        mode,
    }
}

/// In order: a target's parent comes before it.
const TABLE: [Row; 8] = [
    row((c"/proc", 0o555), c"proc", NOTHING, None),
    row((c"/sys", 0o555), c"sysfs", NOTHING, None),
    row(
        (c"/dev", 0o755),
        c"devtmpfs",
        MountFlags::NOSUID,
        Some(c"mode=755"),
    ),
    row(
        (c"/dev/pts", 0o755),
        c"devpts",
        MountFlags::NOSUID.union(MountFlags::NOEXEC),
        Some(c"gid=5,mode=620,ptmxmode=666"),
    ),
    row((c"/dev/shm", 0o1777), TMPFS, NO_DEVICES, Some(c"mode=1777")),
    row((c"/run", 0o755), TMPFS, NO_DEVICES, Some(c"mode=755")),
    row((c"/tmp", 0o1777), TMPFS, NO_DEVICES, Some(c"mode=1777")),
    row((c"/sys/fs/cgroup", 0o755), c"cgroup2", NOTHING, None),
];

/// The character devices that a program expects, for a kernel without devtmpfs: name, mode, major and minor number.
const NODES: [(&CStr, u16, u32, u32); 7] = [
    (c"/dev/null", 0o666, 1, 3),
    (c"/dev/zero", 0o666, 1, 5),
    (c"/dev/full", 0o666, 1, 7),
    (c"/dev/random", 0o666, 1, 8),
    (c"/dev/urandom", 0o666, 1, 9),
    (c"/dev/tty", 0o666, 5, 0),
    (c"/dev/console", 0o600, 5, 1),
];

/// What no kernel makes: the names by which a program finds its own descriptors.
const LINKS: [(&CStr, &CStr); 4] = [
    (c"/dev/fd", c"/proc/self/fd"),
    (c"/dev/stdin", c"/proc/self/fd/0"),
    (c"/dev/stdout", c"/proc/self/fd/1"),
    (c"/dev/stderr", c"/proc/self/fd/2"),
];

const DEV: &CStr = c"/dev";
const TMPFS: &CStr = c"tmpfs";

/// Mounts the table and fills /dev.
pub(crate) fn all(payload: &Payload<'_>) -> core::result::Result<(), Verdict> {
    // The table's modes are meant as they stand.
    let mask = umask(Mode::empty());
    let done = TABLE
        .iter()
        .try_for_each(|row| mount_row(row, payload.flags & ROOT != 0))
        .and_then(|()| links());
    umask(mask);
    done.map_err(failed(Stage::Mount))
}

fn mount_row(row: &Row, on_disk: bool) -> Result<()> {
    match mkdir(row.target, Mode::from_raw_mode(row.mode.into())) {
        // The initramfs brought files for it. They are memory already, and a tmpfs would hide them.
        Err(Errno::EXIST) if row.kind == TMPFS && !on_disk => return Ok(()),
        // What else is wrong with the directory shows in the mount.
        _ => {}
    }
    match mount(row.kind, row.target, row.kind, row.flags, row.options) {
        // The kernel does not have it.
        Err(Errno::NODEV) if row.target == DEV => nodes(),
        Err(Errno::NODEV) => Ok(()),
        // It does not have what makes the directory: /sys/fs/cgroup is sysfs's.
        Err(Errno::NOENT) => Ok(()),
        // It has mounted it itself.
        Err(Errno::BUSY) => Ok(()),
        other => other,
    }
}

/// Makes /dev by hand.
fn nodes() -> Result<()> {
    let flags = MountFlags::NOSUID.union(MountFlags::NOEXEC);
    match mount(TMPFS, DEV, TMPFS, flags, c"mode=755") {
        // The root is memory, too.
        Ok(()) | Err(Errno::NODEV) => {}
        Err(errno) => return Err(errno),
    }
    NODES.iter().try_for_each(|&(path, mode, major, minor)| {
        let (mode, device): (Mode, Dev) = (Mode::from_raw_mode(mode.into()), makedev(major, minor));
        unless_there(mknodat(CWD, path, FileType::CharacterDevice, mode, device))
    })
}

fn links() -> Result<()> {
    LINKS
        .iter()
        .try_for_each(|&(path, target)| unless_there(symlink(target, path)))
}

fn unless_there(made: Result<()>) -> Result<()> {
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}
