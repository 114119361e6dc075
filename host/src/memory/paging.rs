//! The guest's page tables: those it boots with, and walks through whatever tables it uses. 4 levels, as in the AMD64
//! manual, volume 2, chapter 5.

use super::guest::GuestMemory;
use crate::base::cast::to_usize;
use crate::error::{Error, Result};
use crate::layout;
use std::ops::Range;

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// Bits 51-12 of an entry: the address of what it points to.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The guest-physical address behind a virtual one, and how many bytes of its page follow.
///
/// # Errors
/// [`Error::OutOfBounds`] for an address that is not mapped, or mapped outside guest memory.
pub(crate) fn translate(memory: &GuestMemory, cr3: u64, address: u64) -> Result<(u64, usize)> {
    let mut table = cr3 & ADDRESS;
    for level in (0..4).rev() {
        let shift = 12 + 9 * level;
        let entry = memory.read_u64(table + (address >> shift & 0x1ff) * 8)?;
        if entry & PRESENT == 0 {
            break;
        }
        // A large page ends the walk at the levels that have them: 1 GiB at 2, 2 MiB at 1.
        if level == 0 || (level < 3 && entry & LARGE != 0) {
            let mask = (1_u64 << shift) - 1;
            let gpa = (entry & ADDRESS & !mask) | (address & mask);
            return Ok((gpa, to_usize(mask + 1 - (address & mask))));
        }
        table = entry & ADDRESS;
    }
    Err(Error::OutOfBounds {
        gpa: address,
        len: 0,
    })
}

/// Copies guest-virtual memory, page by page.
///
/// # Errors
/// As [`translate`]; the front of `into` may have been filled by then.
pub(crate) fn read(memory: &GuestMemory, cr3: u64, address: u64, into: &mut [u8]) -> Result<()> {
    pages(memory, cr3, address, into.len(), |gpa, part| {
        memory.read(gpa, &mut into[part])
    })
}

/// Calls `each` for every page's part of `len` bytes, with its guest-physical address.
fn pages(
    memory: &GuestMemory,
    cr3: u64,
    address: u64,
    len: usize,
    mut each: impl FnMut(u64, Range<usize>) -> Result<()>,
) -> Result<()> {
    let mut done = 0;
    while done < len {
        let (gpa, left) = translate(memory, cr3, address.wrapping_add(done as u64))?;
        let end = done + left.min(len - done);
        each(gpa, done..end)?;
        done = end;
    }
    Ok(())
}

/// Writes page tables that map the first GiB onto itself in 2 MiB pages; returns the value for CR3.
///
/// # Errors
/// None for a guest of the smallest size.
pub fn write_identity_map(memory: &GuestMemory) -> Result<u64> {
    /// Present and writable.
    const TABLE: u64 = 0b11;
    /// Present, writable, a page of the level's own size.
    const PAGE: u64 = 0b1000_0011;
    let [top, gigabytes, megabytes] = [0, 1, 2].map(|n| layout::PAGE_TABLES + n * layout::PAGE);
    memory.write(top, &(gigabytes | TABLE).to_le_bytes())?;
    memory.write(gigabytes, &(megabytes | TABLE).to_le_bytes())?;
    let mut entries = [0; to_usize(layout::PAGE)];
    for (index, entry) in entries.chunks_exact_mut(8).enumerate() {
        entry.copy_from_slice(&((index as u64) << 21 | PAGE).to_le_bytes());
    }
    memory.write(megabytes, &entries)?;
    Ok(top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Pages;

    #[test]
    fn the_boot_page_tables_map_the_first_gib_onto_itself() {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        let cr3 = write_identity_map(&memory).unwrap();
        for address in [0, 0x1234, 0x10_0000, (1 << 30) - 1] {
            assert_eq!(translate(&memory, cr3, address).unwrap().0, address);
        }
        assert!(translate(&memory, cr3, 1 << 30).is_err());
        assert!(translate(&memory, u64::MAX, 0).is_err(), "hostile CR3");
    }

    #[test]
    fn copies_cross_pages() {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        let cr3 = write_identity_map(&memory).unwrap();
        let text = *b"across a page boundary";
        memory.write(0x1f_fff8, &text).unwrap();
        let mut back = [0; 22];
        read(&memory, cr3, 0x1f_fff8, &mut back).unwrap();
        assert_eq!(back, text);
    }
}
