//! A memory file (memfd) that many machines map: written once, and then sealed, so that nothing can change or shorten
//! it under a guest.

use crate::base::cast::to_usize;
use crate::error::{Error, Result, system};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A memory file that is being written; [`SealedFile::finish`] seals it.
#[derive(Debug)]
pub(crate) struct SealedFile {
    file: File,
    len: u64,
}

impl SealedFile {
    /// An empty one; the name is seen in /proc/self/maps.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(name, flags).map_err(system("memfd_create"))?;
        Ok(SealedFile {
            file: file.into(),
            len: 0,
        })
    }

    /// Adds the first `len` bytes of a file.
    pub(crate) fn append(&mut self, mut from: &File, len: u64, path: &Path) -> Result<()> {
        let copied = from
            .seek(SeekFrom::Start(0))
            .and_then(|_| io::copy(&mut from.take(len), &mut self.file));
        let error = match copied {
            Ok(copied) if copied == len => {
                self.len += len;
                return Ok(());
            }
            Ok(_) => io::ErrorKind::UnexpectedEof.into(),
            Err(error) => error,
        };
        Err(Error::Read {
            path: path.to_owned(),
            error,
        })
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::System {
            call: "write to a memfd",
            error,
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Adds zeros up to a multiple of `to`, at most a page.
    pub(crate) fn align(&mut self, to: u64) -> Result<()> {
        let missing = self.len.next_multiple_of(to) - self.len;
        self.write(&vec![0; to_usize(missing)])
    }

    /// The file, which does not change any more, and its length.
    pub(crate) fn finish(self) -> Result<(File, u64)> {
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&self.file, seals).map_err(system("fcntl(F_ADD_SEALS)"))?;
        Ok((self.file, self.len))
    }
}
