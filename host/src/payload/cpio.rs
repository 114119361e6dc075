//! Archives in the "new ASCII" cpio format (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).

use super::Error;
use super::tree::{Node, Tree};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// File types in a mode: `include/uapi/linux/stat.h`.
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Headers and file contents start at a multiple of this many bytes.
const ALIGN: usize = 4;

/// Writes `tree` as one archive. The same tree gives the same bytes: times and owners are zero, and inodes count from 1.
///
/// The archive's length is a multiple of 4, so another archive can follow it.
///
/// # Errors
/// [`Error::Write`] from `out`, [`Error::TooLarge`] for a file of 4 GiB or more.
pub(crate) fn write(tree: &Tree, out: &mut impl Write) -> Result<(), Error> {
    let mut inode = 0;
    for (path, node) in tree.nodes() {
        inode += 1;
        let name = path.as_os_str().as_bytes();
        match node {
            Node::Directory { mode } => entry(out, inode, DIRECTORY | mode, (0, 0), name, &[])?,
            Node::File { mode, bytes } => entry(out, inode, FILE | mode, (0, 0), name, bytes)?,
            Node::Link { target } => {
                let target = target.as_os_str().as_bytes();
                entry(out, inode, LINK | 0o777, (0, 0), name, target)?;
            }
            Node::Device { mode, number } => {
                entry(out, inode, CHARACTER_DEVICE | mode, *number, name, &[])?;
            }
        }
    }
    entry(out, 0, 0, (0, 0), b"TRAILER!!!", &[])
}

fn entry(
    out: &mut impl Write,
    inode: u32,
    mode: u32,
    device: (u32, u32),
    name: &[u8],
    bytes: &[u8],
) -> Result<(), Error> {
    let length = |field: &[u8]| {
        u32::try_from(field.len())
            .map_err(|_| Error::TooLarge(String::from_utf8_lossy(name).into_owned()))
    };
    // ino, mode, uid, gid, nlink, mtime, filesize, dev (2), rdev (2), namesize, check
    let fields = [
        inode,
        mode,
        0,
        0,
        1,
        0,
        length(bytes)?,
        0,
        0,
        device.0,
        device.1,
        length(name)? + 1,
        0,
    ];
    let mut header = b"070701".to_vec();
    for field in fields {
        write!(header, "{field:08x}")?;
    }
    header.extend_from_slice(name);
    header.push(0);
    header.resize(header.len().next_multiple_of(ALIGN), 0);
    out.write_all(&header)?;
    out.write_all(bytes)?;
    let padding = bytes.len().next_multiple_of(ALIGN) - bytes.len();
    out.write_all(&[0; ALIGN][..padding])?;
    Ok(())
}
