//! Guest memory: one private mapping of this process, and the only place where its bounds are checked.
//!
//! unsafe lives here because the guest writes to this memory while we read it: every access is a bounded copy,
//! never a reference.
#![allow(unsafe_code)]

mod files;
mod huge;

use crate::error::{Error, Result, system};
use crate::layout;
use rustix::mm::{self, MapFlags, ProtFlags};
use std::ffi;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

/// What backs guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// What measured best: 4 KiB pages, and transparent huge ones where the kernel lies and where it puts its
    /// memory map.
    #[default]
    Auto,
    /// 4 KiB pages.
    Small,
    /// Transparent huge pages, by madvise.
    Transparent,
    /// 2 MiB pages of the hugetlbfs pool; transparent ones where that has too few.
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

/// A guest's RAM.
#[derive(Debug)]
pub struct GuestMemory {
    base: *mut u8,
    len: u64,
    mapping: Arc<Mapping>,
    pages: Pages,
    /// Whether the host gave transparent huge pages where they were asked for.
    huge: bool,
    /// What was asked for and not to be had.
    warning: Option<String>,
    /// Where files are copied instead of mapped, since a mapping is made of small pages.
    copied: Range<u64>,
    /// Mappings of the files that were copied.
    sources: Vec<(*mut ffi::c_void, usize)>,
}

/// The mapping that guest memory lies in, and its length: there as long as anybody keeps it.
#[derive(Debug)]
pub(crate) struct Mapping(*mut ffi::c_void, usize);

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
    /// Reserves `mib` MiB; at most one page of it is touched, where transparent huge pages are asked for.
    ///
    /// # Errors
    /// A size out of range, or no memory.
    pub fn new(mib: u64, pages: Pages) -> Result<Self> {
        if !(8..=1 << 20).contains(&mib) {
            return Err(Error::MemorySize(mib));
        }
        match Self::map(mib << 20, pages) {
            // The kernel reserves the pages of such a mapping when it is made, so its refusal is what the pool says.
            Err(error) if pages == Pages::Huge => {
                let mut memory = Self::map(mib << 20, Pages::Transparent)?;
                memory.warning = Some(huge::missing(mib.div_ceil(2), &error));
                Ok(memory)
            }
            mapped => mapped,
        }
    }

    fn map(len: u64, pages: Pages) -> Result<Self> {
        let mut flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // Room to start at a multiple of a huge page, which kernels before 6.7 do not see to themselves.
        let mut mapped = len + huge::PAGE;
        if pages == Pages::Huge {
            flags |= MapFlags::HUGETLB | MapFlags::HUGE_2MB;
            // Without NORESERVE the kernel refuses now what it would otherwise answer later with SIGBUS.
            flags -= MapFlags::NORESERVE;
            mapped = len.next_multiple_of(huge::PAGE);
        }
        let mapped = mapped as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice aliases nothing.
        let mapping = unsafe { mm::mmap_anonymous(ptr::null_mut(), mapped, access, flags) };
        let mapping = mapping.map_err(system("mmap of guest memory"))?;
        let base = mapping.map_addr(|address| address.next_multiple_of(huge::PAGE as usize));
        let mut memory = GuestMemory {
            base: base.cast(),
            len,
            mapping: Arc::new(Mapping(mapping, mapped)),
            sources: Vec::new(),
            pages,
            huge: false,
            warning: None,
            copied: if pages == Pages::Huge { 0..len } else { 0..0 },
        };
        if pages == Pages::Transparent {
            // Boot parameters touch the first page in any case.
            let low = 0..memory.low_end();
            memory.huge = memory.advise_huge(low) && memory.first_is_huge(0);
            if len > memory.low_end() {
                memory.advise_huge(layout::ABOVE_GAP..layout::ABOVE_GAP + len - memory.low_end());
            }
        }
        Ok(memory)
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

    /// Keeps the memory mapped, whatever becomes of this.
    pub(crate) fn keep(&self) -> Arc<Mapping> {
        Arc::clone(&self.mapping)
    }

    /// What backs this memory in fact: transparent huge pages if the host gave any of those asked for.
    #[must_use]
    pub fn pages(&self) -> Pages {
        match self.pages {
            Pages::Huge => Pages::Huge,
            _ if self.huge => Pages::Transparent,
            _ => Pages::Small,
        }
    }

    /// What was asked for and not to be had.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// End of the RAM below the gap.
    #[must_use]
    pub fn low_end(&self) -> u64 {
        self.len.min(layout::MMIO_GAP)
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
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more. An error would leak it: harmless.
        let _ = unsafe { mm::munmap(self.0, self.1) };
    }
}

// SAFETY: the mapping is valid in every thread, and it is never looked into through this.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        for &(start, len) in &self.sources {
            // SAFETY: the mapping is ours and nothing refers to it any more. An error would leak it: harmless.
            let _ = unsafe { mm::munmap(start, len) };
        }
    }
}

// SAFETY: the mapping is valid in every thread, and all access goes through bounded copies.
unsafe impl Send for GuestMemory {}
// SAFETY: as above; a racing guest or thread can only change the bytes that a copy sees.
unsafe impl Sync for GuestMemory {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

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
    fn a_file_reads_back_whatever_the_pages() {
        const MIB: usize = 1 << 20;
        let bytes: Vec<u8> = (0..6 * MIB as u32)
            .map(|at| (at / 4096) as u8 ^ at as u8)
            .collect();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &bytes).unwrap();
        for pages in [Pages::Auto, Pages::Small, Pages::Transparent] {
            let mut memory = GuestMemory::new(16, pages).unwrap();
            // From inside a huge page to inside another, both ends odd.
            let (gpa, len) = ((3 * MIB) as u64, bytes.len() - 5);
            memory.expect_kernel(gpa..gpa + len as u64);
            memory.place(&file, 4096, gpa, len as u64 - 4096).unwrap();
            let mut back = vec![0; len - 4096];
            memory.read(gpa, &mut back).unwrap();
            assert!(back == bytes[4096..len], "{pages:?}");
            assert!(memory.place(&file, 4096, gpa, bytes.len() as u64).is_err());
        }
    }

    #[test]
    fn a_kernel_that_ends_anywhere_is_no_panic() {
        let mut memory = GuestMemory::new(16, Pages::Auto).unwrap();
        for kernel in [
            0..u64::MAX,
            u64::MAX - 1..u64::MAX,
            0..0,
            1 << 20..(1 << 20) + 24,
        ] {
            memory.expect_kernel(kernel);
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert!(GuestMemory::new(7, Pages::Small).is_err());
        assert!(GuestMemory::new(u64::MAX, Pages::Small).is_err());
    }
}
