//! Guest memory: one private mapping of this process, and the only place where its bounds are checked.
//!
//! unsafe lives here because the guest writes to this memory while we read it: every access is a bounded copy,
//! never a reference.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::layout;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::ptr;

/// What backs guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// What measured best for guests that touch little: 4 KiB pages, and transparent huge ones where the kernel
    /// puts its memory map.
    #[default]
    Auto,
    /// 4 KiB pages.
    Small,
    /// Transparent huge pages, by madvise.
    Transparent,
    /// 2 MiB pages of the hugetlbfs pool.
    Huge,
}

impl Pages {
    /// The name that the report gives.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Pages::Auto | Pages::Small => "4k",
            Pages::Transparent => "thp",
            Pages::Huge => "2m",
        }
    }
}

/// The size of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

/// The kernel's memory map is a `struct page` of 64 bytes for each page of 4 KiB.
const MEMORY_MAP_SHARE: u64 = 64;

/// A guest's RAM.
#[derive(Debug)]
pub struct GuestMemory {
    base: *mut u8,
    len: u64,
    pages: Pages,
}

/// One stretch of guest-physical addresses, for `KVM_SET_USER_MEMORY_REGION` and the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Guest-physical address.
    pub gpa: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where it is mapped in this process.
    pub hva: u64,
}

impl GuestMemory {
    /// Reserves `mib` MiB; nothing is touched or populated.
    ///
    /// # Errors
    /// A size out of range, no memory, or no huge pages.
    pub fn new(mib: u64, pages: Pages) -> Result<Self> {
        if !(8..=1 << 20).contains(&mib) {
            return Err(Error::MemorySize(mib));
        }
        let len = mib << 20;
        let mut flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        if pages == Pages::Huge {
            flags |= MapFlags::HUGETLB | MapFlags::HUGE_2MB;
            // Without NORESERVE the kernel refuses now what it would otherwise answer later with SIGBUS.
            flags -= MapFlags::NORESERVE;
        }
        // SAFETY: a new anonymous mapping at an address of the kernel's choice aliases nothing.
        let mapped = unsafe {
            mm::mmap_anonymous(
                ptr::null_mut(),
                len as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        };
        let base = mapped.map_err(|error| match pages {
            Pages::Huge => Error::HugePages {
                needed: mib.div_ceil(2),
                error: error.into(),
            },
            _ => crate::error::system("mmap of guest memory")(error),
        })?;
        if pages == Pages::Transparent {
            // SAFETY: the range is the mapping just made, and the advice changes no contents.
            unsafe { mm::madvise(base, len as usize, Advice::LinuxHugepage) }
                .map_err(crate::error::system("madvise(MADV_HUGEPAGE)"))?;
        }
        Ok(GuestMemory {
            base: base.cast(),
            len,
            pages,
        })
    }

    /// The guest's memory in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: a guest has at least 8 MiB.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What backs this memory.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// End of the RAM below the gap.
    #[must_use]
    pub fn low_end(&self) -> u64 {
        self.len.min(layout::MMIO_GAP)
    }

    /// Where pages are automatic, asks for huge ones at the end of RAM below `used_from`: there the kernel allocates
    /// first, from the top down, and touches all of its memory map (1/64 of RAM). Profile min to ready at 128 MiB in
    /// the lab: 33.4 ms and 3,229 page faults without, 30.9 ms and 2,714 with.
    pub fn expect_memory_map(&self, used_from: u64) {
        if self.pages != Pages::Auto {
            return;
        }
        let Some(last) = self.regions().last() else {
            return;
        };
        let end = if last.gpa == 0 {
            used_from.min(last.len) & !(HUGE_PAGE - 1)
        } else {
            last.gpa + last.len
        };
        // One huge page more than the memory map, for what is allocated beside it.
        let len = (self.len / MEMORY_MAP_SHARE).next_multiple_of(HUGE_PAGE) + HUGE_PAGE;
        let Some(start) = end.checked_sub(len) else {
            return;
        };
        if let Ok(at) = self.at(start, len as usize) {
            // SAFETY: `at` checked that the range is ours, and the advice changes no contents.
            // A host without transparent huge pages refuses, which leaves small ones.
            let _ = unsafe { mm::madvise(at.cast(), len as usize, Advice::LinuxHugepage) };
        }
    }

    /// The one or two stretches of RAM.
    pub fn regions(&self) -> impl Iterator<Item = Region> {
        let low = self.low_end();
        let hva = self.base as u64;
        [
            Region {
                gpa: 0,
                len: low,
                hva,
            },
            Region {
                gpa: layout::ABOVE_GAP,
                len: self.len - low,
                hva: hva + low,
            },
        ]
        .into_iter()
        .filter(|region| region.len > 0)
    }

    /// The one bounds check: the host address of `len` bytes at `gpa`, if they are RAM of one region.
    fn at(&self, gpa: u64, len: usize) -> Result<*mut u8> {
        let outside = Error::OutOfBounds { gpa, len };
        let Some(end) = gpa.checked_add(len as u64) else {
            return Err(outside);
        };
        self.regions()
            .find(|region| gpa >= region.gpa && end <= region.gpa + region.len)
            .map(|region| (region.hva + (gpa - region.gpa)) as *mut u8)
            .ok_or(outside)
    }

    /// Copies guest memory at `gpa` into `into`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn read(&self, gpa: u64, into: &mut [u8]) -> Result<()> {
        let from = self.at(gpa, into.len())?;
        // SAFETY: `at` checked the range; `into` is our own memory, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies `bytes` to guest memory at `gpa`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn write(&self, gpa: u64, bytes: &[u8]) -> Result<()> {
        let to = self.at(gpa, bytes.len())?;
        // SAFETY: `at` checked the range; `bytes` is our own memory, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Reads a little-endian 64-bit word.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn read_u64(&self, gpa: u64) -> Result<u64> {
        let mut word = [0; 8];
        self.read(gpa, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    /// Puts `len` bytes of `file` from `offset` at `gpa`: whole pages are mapped copy-on-write, so that they are
    /// neither read nor copied until the guest writes to them; the rest is read.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or what reading the file gave; a file that ends early is `UnexpectedEof`.
    pub fn place(&self, file: &File, offset: u64, gpa: u64, len: u64) -> io::Result<()> {
        let to = self.at(gpa, len as usize).map_err(io::Error::other)?;
        let aligned = (offset | gpa) & (layout::PAGE - 1) == 0 && self.pages != Pages::Huge;
        let mapped = if aligned {
            len & !(layout::PAGE - 1)
        } else {
            0
        };
        if mapped > 0 {
            // SAFETY: the range is inside our own mapping (checked by `at`), which this replaces page by page;
            // no Rust reference into it exists.
            unsafe {
                mm::mmap(
                    to.cast(),
                    mapped as usize,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                    file,
                    offset,
                )
            }?;
        }
        self.read_file(
            file,
            offset + mapped,
            to.wrapping_add(mapped as usize),
            (len - mapped) as usize,
        )
    }

    fn read_file(&self, file: &File, offset: u64, to: *mut u8, len: usize) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            // SAFETY: `to..to + len` was checked by the caller through `at`; the kernel writes at most that much.
            let buffer =
                unsafe { std::slice::from_raw_parts_mut(to.wrapping_add(done), len - done) };
            match rustix::io::pread(file, buffer, offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(())
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more. An error would leak it, which is harmless.
        let _ = unsafe { mm::munmap(self.base.cast(), self.len as usize) };
    }
}

// SAFETY: the mapping is valid in every thread, and all access goes through bounded copies.
unsafe impl Send for GuestMemory {}
// SAFETY: as above; a racing guest or thread can only change the bytes that a copy sees.
unsafe impl Sync for GuestMemory {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_bounded() {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        let end = 8 << 20;
        memory.write(end - 4, b"last").unwrap();
        let mut back = [0; 4];
        memory.read(end - 4, &mut back).unwrap();
        assert_eq!(&back, b"last");
        for gpa in [end - 3, end, u64::MAX, layout::ABOVE_GAP] {
            assert!(memory.write(gpa, b"last").is_err(), "{gpa:#x}");
            assert!(memory.read(gpa, &mut back).is_err(), "{gpa:#x}");
        }
    }

    #[test]
    fn memory_above_the_gap_is_a_second_region() {
        let memory = GuestMemory::new(4096, Pages::Small).unwrap();
        let regions: Vec<_> = memory
            .regions()
            .map(|region| (region.gpa, region.len))
            .collect();
        assert_eq!(regions, [(0, 3 << 30), (4 << 30, 1 << 30)]);
        memory.write((5 << 30) - 1, b"x").unwrap();
        assert!(memory.write((3 << 30) - 1, b"xx").is_err());
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert!(GuestMemory::new(7, Pages::Small).is_err());
        assert!(GuestMemory::new(u64::MAX, Pages::Small).is_err());
    }
}
