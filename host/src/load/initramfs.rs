//! The initramfs: one or more cpio archives in sequence, behind the kernel or at the top of memory.

use crate::error::{Error, Result};
use crate::layout;
use crate::memory::GuestMemory;
use crate::memory::sealed::SealedFile;
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
#[derive(Debug)]
enum Opened {
    File(File, u64, PathBuf),
    Bytes(Vec<u8>),
}

impl Opened {
    fn len(&self) -> u64 {
        match self {
            Opened::File(_, len, _) => *len,
            Opened::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// Archives that were opened, to be placed in any number of machines.
#[derive(Debug)]
pub struct Initramfs(Vec<Opened>);

impl Initramfs {
    /// Opens the archives.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn open(archives: Vec<Archive>) -> Result<Self> {
        let opened = archives.into_iter().map(open).collect::<Result<_>>();
        Ok(Initramfs(opened?))
    }

    /// Joins the archives in one memory file, which a machine with small pages maps instead of copying.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::System`].
    pub fn in_memory(self) -> Result<Self> {
        let mut all = SealedFile::new("initramfs")?;
        for archive in self.0 {
            match archive {
                Opened::File(file, len, path) => all.append(&file, len, &path)?,
                Opened::Bytes(bytes) => all.write(&bytes)?,
            }
            all.align(ALIGNMENT)?;
        }
        let (file, len) = all.finish()?;
        // An empty file would be an archive of no bytes.
        let archives = (len > 0).then(|| Opened::File(file, len, PathBuf::from("initramfs")));
        Ok(Initramfs(archives.into_iter().collect()))
    }

    /// Places the archives above `kernel_end`; returns where they lie, empty for none.
    ///
    /// # Errors
    /// [`Error::Read`] for a file, [`Error::DoesNotFit`] when memory is too small.
    pub fn place(&self, memory: &mut GuestMemory, kernel_end: u64) -> Result<Range<u64>> {
        let needed = self
            .0
            .iter()
            .map(|archive| archive.len().next_multiple_of(ALIGNMENT))
            .fold(0, u64::saturating_add);
        if needed.saturating_mul(2) > memory.len() {
            return Err(Error::TooLittleMemory {
                memory: memory.len() >> 20,
                initramfs: needed >> 20,
                enough: enough(kernel_end, needed),
            });
        }
        let top = || {
            let start = memory.low_end().checked_sub(needed)?;
            Some(start & !(layout::PAGE - 1)).filter(|&start| start >= kernel_end)
        };
        let start =
            memory
                .space_behind(kernel_end, needed)
                .or_else(top)
                .ok_or(Error::DoesNotFit {
                    what: "the initramfs",
                    needed,
                    gpa: kernel_end,
                    memory: memory.len() >> 20,
                })?;
        let mut at = start;
        for archive in &self.0 {
            match archive {
                Opened::File(file, len, path) => {
                    memory
                        .place(file, 0, at, *len)
                        .map_err(|error| Error::Read {
                            path: path.clone(),
                            error,
                        })?;
                }
                Opened::Bytes(bytes) => memory.write(at, bytes)?,
            }
            at += archive.len().next_multiple_of(ALIGNMENT);
        }
        Ok(start..at)
    }
}

/// MiB of memory in which a kernel that ends at `kernel_end` has room for an initramfs of `bytes`: for the archive, which is
/// freed only when it has been unpacked, and for a tmpfs that holds it and may fill half of the rest.
fn enough(kernel_end: u64, bytes: u64) -> u64 {
    // What the kernel takes for itself, and what a program may need.
    const SPARE: u64 = 32 << 20;
    let bytes = bytes.saturating_mul(3).saturating_add(kernel_end);
    bytes.saturating_add(SPARE).div_ceil(1 << 20)
}

fn open(archive: Archive) -> Result<Opened> {
    match archive {
        Archive::Bytes(bytes) => Ok(Opened::Bytes(bytes)),
        Archive::File(path) => {
            let read = |error| Error::Read {
                path: path.clone(),
                error,
            };
            let file = File::open(&path).map_err(read)?;
            let metadata = file.metadata().map_err(read)?;
            if !metadata.is_file() {
                return Err(read(std::io::Error::other("not a regular file")));
            }
            Ok(Opened::File(file, metadata.len(), path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cast::to_usize;
    use crate::memory::Pages;

    #[test]
    fn too_little_memory_is_refused_with_what_suffices() {
        let initramfs = Initramfs::open(vec![Archive::Bytes(vec![0; 5 << 20])]).unwrap();
        let mut memory = GuestMemory::new(8, Pages::Small).unwrap();
        let error = initramfs.place(&mut memory, 1 << 20).unwrap_err();
        assert!(
            error.to_string().contains("--memory 48M suffices"),
            "{error}"
        );
        let mut memory = GuestMemory::new(48, Pages::Small).unwrap();
        assert!(initramfs.place(&mut memory, 1 << 20).is_ok());
    }

    #[test]
    fn archives_lie_the_same_in_memory_and_in_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &[7; 5001]).unwrap();
        let archives = || {
            vec![
                Archive::File(file.path().to_owned()),
                Archive::Bytes(vec![8; 6]),
            ]
        };
        let placed = |initramfs: Initramfs| {
            let mut memory = GuestMemory::new(8, Pages::Small).unwrap();
            let at = initramfs.place(&mut memory, 1 << 20).unwrap();
            let mut bytes = vec![0; to_usize(at.end - at.start)];
            memory.read(at.start, &mut bytes).unwrap();
            (at, bytes)
        };
        let opened = placed(Initramfs::open(archives()).unwrap());
        assert_eq!(opened.1[5000..5010], [7, 0, 0, 0, 8, 8, 8, 8, 8, 8]);
        let joined = Initramfs::open(archives()).unwrap().in_memory().unwrap();
        assert_eq!(opened, placed(joined));
        let none = Initramfs::open(Vec::new()).unwrap().in_memory().unwrap();
        assert!(placed(none).0.is_empty());
    }
}
