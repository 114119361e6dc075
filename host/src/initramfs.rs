//! The initramfs: one or more cpio archives, one behind the other at the top of memory.

use crate::error::{Error, Result};
use crate::layout;
use crate::memory::GuestMemory;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;

/// Archives start on multiples of this (Documentation/driver-api/early-userspace/buffer-format.rst).
const ALIGNMENT: u64 = 4;

/// One archive.
#[derive(Clone, Debug)]
pub enum Archive {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
}

/// An archive that was opened: its contents and length.
enum Opened<'a> {
    File(File, u64, &'a PathBuf),
    Bytes(&'a [u8]),
}

impl Opened<'_> {
    fn len(&self) -> u64 {
        match self {
            Opened::File(_, len, _) => *len,
            Opened::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// Places the archives above `kernel_end`; returns where they lie, empty for none.
///
/// # Errors
/// [`Error::Read`] for a file, [`Error::DoesNotFit`] when memory is too small.
pub fn place(
    memory: &mut GuestMemory,
    archives: &[Archive],
    kernel_end: u64,
) -> Result<Range<u64>> {
    let opened = archives.iter().map(open).collect::<Result<Vec<_>>>()?;
    let needed = opened
        .iter()
        .map(|archive| archive.len().next_multiple_of(ALIGNMENT))
        .fold(0, u64::saturating_add);
    let start = memory
        .low_end()
        .checked_sub(needed)
        .map(|start| start & !(layout::PAGE - 1))
        .filter(|&start| start >= kernel_end)
        .ok_or(Error::DoesNotFit {
            what: "the initramfs",
            needed,
            gpa: kernel_end,
            memory: memory.len() >> 20,
        })?;
    let mut at = start;
    for archive in &opened {
        match archive {
            Opened::File(file, len, path) => {
                memory
                    .place(file, 0, at, *len)
                    .map_err(|error| Error::Read {
                        path: (*path).clone(),
                        error,
                    })?;
            }
            Opened::Bytes(bytes) => memory.write(at, bytes)?,
        }
        at += archive.len().next_multiple_of(ALIGNMENT);
    }
    Ok(start..at)
}

fn open(archive: &Archive) -> Result<Opened<'_>> {
    match archive {
        Archive::Bytes(bytes) => Ok(Opened::Bytes(bytes)),
        Archive::File(path) => {
            let read = |error| Error::Read {
                path: path.clone(),
                error,
            };
            let file = File::open(path).map_err(read)?;
            let metadata = file.metadata().map_err(read)?;
            if !metadata.is_file() {
                return Err(read(std::io::Error::other("not a regular file")));
            }
            Ok(Opened::File(file, metadata.len(), path))
        }
    }
}
