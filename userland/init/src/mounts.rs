//! The file systems that a program expects, as far as the kernel has them.

use crate::failed;
use crate::packed::{self, Record};
use core::ffi::CStr;
use jiffy_abi::payload::{Payload, ROOT};
use jiffy_abi::verdict::{Stage, Verdict};
use rustix::fs::{CWD, FileType, Mode, makedev, mkdir, mknodat, symlink};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, mount};
use rustix::process::umask;

const NOTHING: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);
const NO_DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
const NO_PROGRAMS: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// A directory with its mode, which a program sees where the file system is missing; and what is mounted there.
const fn row(
    (target, mode): (&'static CStr, u16),
    kind: &'static CStr,
    flags: MountFlags,
    options: &'static CStr,
) -> Record {
    Record {
        numbers: [packed::byte(flags.bits()), special(kind)],
        mode,
        strings: [target, kind, options],
    }
}

/// A record's second number: which kind of file system it is, if it has a rule of its own.
const fn special(kind: &CStr) -> u8 {
    match kind.to_bytes() {
        b"tmpfs" => IS_TMPFS,
        b"devtmpfs" => IS_DEV,
        _ => 0,
    }
}
const IS_TMPFS: u8 = 1;
const IS_DEV: u8 = 2;

/// In order: a target's parent comes before it.
const TABLE: [Record; 8] = [
    row((c"/proc", 0o555), c"proc", NOTHING, c""),
    row((c"/sys", 0o555), c"sysfs", NOTHING, c""),
    row(
        (c"/dev", 0o755),
        c"devtmpfs",
        MountFlags::NOSUID,
        c"mode=755",
    ),
    row(
        (c"/dev/pts", 0o755),
        c"devpts",
        NO_PROGRAMS,
        c"gid=5,mode=620,ptmxmode=666",
    ),
    row((c"/dev/shm", 0o1777), TMPFS, NO_DEVICES, c"mode=1777"),
    row((c"/run", 0o755), TMPFS, NO_DEVICES, c"mode=755"),
    row((c"/tmp", 0o1777), TMPFS, NO_DEVICES, c"mode=1777"),
    row((c"/sys/fs/cgroup", 0o755), c"cgroup2", NOTHING, c""),
];
static TABLE_BYTES: [u8; packed::len(&TABLE)] = packed::pack(&TABLE);

const fn node(path: &'static CStr, mode: u16, major: u8, minor: u8) -> Record {
    Record {
        numbers: [major, minor],
        mode,
        strings: [path, c"", c""],
    }
}

/// The character devices that a program expects, for a kernel without devtmpfs.
const NODES: [Record; 7] = [
    node(c"/dev/null", 0o666, 1, 3),
    node(c"/dev/zero", 0o666, 1, 5),
    node(c"/dev/full", 0o666, 1, 7),
    node(c"/dev/random", 0o666, 1, 8),
    node(c"/dev/urandom", 0o666, 1, 9),
    node(c"/dev/tty", 0o666, 5, 0),
    node(c"/dev/console", 0o600, 5, 1),
];
static NODES_BYTES: [u8; packed::len(&NODES)] = packed::pack(&NODES);

const fn link(path: &'static CStr, target: &'static CStr) -> Record {
    Record {
        numbers: [0, 0],
        mode: 0,
        strings: [path, target, c""],
    }
}

/// What no kernel makes: the names by which a program finds its own descriptors.
const LINKS: [Record; 4] = [
    link(c"/dev/fd", c"/proc/self/fd"),
    link(c"/dev/stdin", c"/proc/self/fd/0"),
    link(c"/dev/stdout", c"/proc/self/fd/1"),
    link(c"/dev/stderr", c"/proc/self/fd/2"),
];
static LINKS_BYTES: [u8; packed::len(&LINKS)] = packed::pack(&LINKS);

const DEV: &CStr = c"/dev";
const TMPFS: &CStr = c"tmpfs";

/// Mounts the table and fills /dev.
pub(crate) fn all(payload: &Payload<'_>) -> core::result::Result<(), Verdict> {
    // The tables' modes are meant as they stand.
    let mask = umask(Mode::empty());
    let done = packed::each(&TABLE_BYTES, payload.flags, mount_row)
        .and_then(|()| packed::each(&LINKS_BYTES, 0, make_link));
    umask(mask);
    done.map_err(failed(Stage::Mount))
}

fn mount_row(row: &Record, flags: u32) -> Result<()> {
    let ([bits, special], [target, kind, options]) = (row.numbers, row.strings);
    match mkdir(target, Mode::from_raw_mode(row.mode.into())) {
        // The initramfs brought files for it. They are memory already, and a tmpfs would hide them.
        Err(Errno::EXIST) if special == IS_TMPFS && flags & ROOT == 0 => return Ok(()),
        // What else is wrong with the directory shows in the mount.
        _ => {}
    }
    let flags = MountFlags::from_bits_retain(bits.into());
    // The kernel copies a page of options, unless there are none.
    let options = (!options.is_empty()).then_some(options);
    match mount(kind, target, kind, flags, options) {
        // The kernel does not have it.
        Err(Errno::NODEV) if special == IS_DEV => nodes(),
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
    match mount(TMPFS, DEV, TMPFS, NO_PROGRAMS, c"mode=755") {
        // The root is memory, too.
        Ok(()) | Err(Errno::NODEV) => {}
        Err(errno) => return Err(errno),
    }
    packed::each(&NODES_BYTES, 0, make_node)
}

fn make_node(node: &Record, _: u32) -> Result<()> {
    let ([major, minor], [path, ..]) = (node.numbers, node.strings);
    let device = makedev(major.into(), minor.into());
    let mode = Mode::from_raw_mode(node.mode.into());
    unless_there(mknodat(CWD, path, FileType::CharacterDevice, mode, device))
}

fn make_link(link: &Record, _: u32) -> Result<()> {
    let [path, target, _] = link.strings;
    unless_there(symlink(target, path))
}

fn unless_there(made: Result<()>) -> Result<()> {
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}
