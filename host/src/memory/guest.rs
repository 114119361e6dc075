//! A guest's RAM: where it is mapped, and the only place where its bounds are checked.
//!
//! unsafe lives here because the guest writes to this memory while we read it: every access is a bounded copy,
//! never a reference.
#![allow(unsafe_code)]

use super::mapping::Mapping;
use super::pages::Pages;
use super::thp;
use crate::base::cast::to_usize;
use crate::error::{Error, Result};
use crate::layout;
use std::fs;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

/// A guest's RAM.
#[derive(Debug)]
pub struct GuestMemory {
    base: *mut u8,
    len: u64,
    mapping: Arc<Mapping>,
    pub(super) pages: Pages,
    /// Whether the host gave transparent huge pages where they were asked for.
    pub(super) huge: bool,
    /// Requests that could not be met.
    warning: Option<String>,
    /// Where the RAM above the BIOS area begins in the guest's memory map.
    pub(super) first_usable: u64,
    /// Where files are copied instead of mapped, since a mapping is made of small pages.
    pub(super) copied: Range<u64>,
    /// Mappings of the files that were copied.
    pub(super) sources: Vec<Mapping>,
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
                memory.warning = Some(pool_is_short(mib.div_ceil(2), &error));
                Ok(memory)
            }
            mapped => mapped,
        }
    }

    fn map(len: u64, pages: Pages) -> Result<Self> {
        let mapping = Mapping::anonymous(len, pages)?;
        let start = mapping.start();
        let mut memory = GuestMemory {
            base: start.map_addr(|address| address.next_multiple_of(to_usize(thp::PAGE))),
            len,
            mapping: Arc::new(mapping),
            sources: Vec::new(),
            pages,
            huge: false,
            warning: None,
            first_usable: layout::HIGH_MEMORY,
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

    /// Keeps the memory mapped for as long as the caller keeps the answer.
    pub(crate) fn keep(&self) -> Arc<Mapping> {
        Arc::clone(&self.mapping)
    }

    /// What really backs this memory: transparent huge pages if the host gave any of those asked for.
    #[must_use]
    pub fn pages(&self) -> Pages {
        match self.pages {
            Pages::Huge => Pages::Huge,
            _ if self.huge => Pages::Transparent,
            _ => Pages::Small,
        }
    }

    /// Requests that could not be met.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Where the RAM above the BIOS area begins in the guest's memory map.
    #[must_use]
    pub fn first_usable(&self) -> u64 {
        self.first_usable
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
    pub(super) fn at(&self, gpa: u64, len: usize) -> Result<*mut u8> {
        let outside = Error::OutOfBounds { gpa, len };
        let Some(end) = gpa.checked_add(len as u64) else {
            return Err(outside);
        };
        self.regions()
            .find(|region| gpa >= region.gpa && end <= region.gpa + region.len)
            .map(|region| (region.hva + (gpa - region.gpa)) as *mut u8)
            .ok_or(outside)
    }

    /// Asks for huge pages; false from a host that refuses.
    pub(super) fn advise_huge(&self, range: Range<u64>) -> bool {
        let len = to_usize(range.end - range.start);
        self.at(range.start, len)
            .is_ok_and(|at| thp::advise(at, len))
    }

    /// Touches the small page at `gpa`, which is to be untouched, and returns whether the next one came with it.
    pub(super) fn first_is_huge(&self, gpa: u64) -> bool {
        self.at(gpa, to_usize(2 * layout::PAGE))
            // SAFETY: `at` checked two pages of our own mapping, into which nobody has written yet.
            .is_ok_and(|at| unsafe { thp::first_is_huge(at) })
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

    /// Whether `len` bytes at `gpa` are RAM.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub(crate) fn check(&self, gpa: u64, len: usize) -> Result<()> {
        self.at(gpa, len).map(|_| ())
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

/// Says that the pool has too few pages (Documentation/admin-guide/mm/hugetlbpage.rst).
fn pool_is_short(needed: u64, error: &Error) -> String {
    let free = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let pool = match fs::read_to_string(free) {
        Ok(free) => format!("{} are free", free.trim()),
        Err(_) => "this kernel has no pool of them".to_owned(),
    };
    format!(
        "--pages 2m takes {needed} huge pages, and {pool} ({error}): using transparent ones; `sysctl vm.nr_hugepages={needed}` reserves them"
    )
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
