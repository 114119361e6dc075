//! Which guest memory gets transparent huge pages.

use super::{GuestMemory, Pages};
use crate::error::Error;
use crate::layout;
use rustix::mm::{self, Advice};
use std::fs;
use std::ops::Range;

/// The size of a huge page.
pub(super) const PAGE: u64 = 2 << 20;

/// A huge page of which a kernel has no more than this is not worth its clearing: page tables, that is.
const MOST_IN_SMALL_PAGES: u64 = 512 << 10;

/// The kernel's memory map is a `struct page` of 64 bytes for each page of 4 KiB.
const MEMORY_MAP_SHARE: u64 = 64;

/// Says that the pool has too few pages (Documentation/admin-guide/mm/hugetlbpage.rst).
pub(super) fn missing(needed: u64, error: &Error) -> String {
    let free = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let pool = match fs::read_to_string(free) {
        Ok(free) => format!("{} are free", free.trim()),
        Err(_) => "this kernel has no pool of them".to_owned(),
    };
    format!(
        "--pages 2m takes {needed} huge pages, and {pool} ({error}): using transparent ones; `sysctl vm.nr_hugepages={needed}` reserves them"
    )
}

impl GuestMemory {
    /// Asks for huge pages under the kernel and below it, where it first allocates from what memory the page tables
    /// of its start have not taken. A kernel touches most of its image, and clearing a huge page costs no more than 68
    /// nested faults; a kernel that is smaller than that gets none. To ready in the lab at 128 MiB, with page faults:
    ///
    /// | profile | small pages | huge under the kernel | and below it |
    /// |---|---|---|---|
    /// | min | 26.4 ms, 2,708 | 17.5 ms, 476 | 16.4 ms, 103 |
    /// | default | 37.8 ms, 4,055 | 25.1 ms, 769 | 22.4 ms, 104 |
    pub fn expect_kernel(&mut self, kernel: Range<u64>) {
        if !matches!(self.pages, Pages::Auto | Pages::Transparent) {
            return;
        }
        let [start, end] = [kernel.start, kernel.end].map(|gpa| gpa.min(self.low_end()));
        let start = start.next_multiple_of(PAGE);
        // A last page of which the kernel has little stays small.
        let end = (end + PAGE - MOST_IN_SMALL_PAGES) & !(PAGE - 1);
        let end = end.min(self.low_end() & !(PAGE - 1));
        if start < end && self.advise_huge(0..end) && self.first_is_huge(start) {
            self.copied = start..end;
            self.huge = true;
        }
    }

    /// Asks for huge pages; a host that has none refuses, or leaves small ones without a word.
    pub(super) fn advise_huge(&self, range: Range<u64>) -> bool {
        let len = (range.end - range.start) as usize;
        let Ok(at) = self.at(range.start, len) else {
            return false;
        };
        // SAFETY: `at` checked that the range is ours, and the advice changes no contents.
        unsafe { mm::madvise(at.cast(), len, Advice::LinuxHugepage) }.is_ok()
    }

    /// Touches the small page at `gpa` and tells whether the next one came with it.
    pub(super) fn first_is_huge(&self, gpa: u64) -> bool {
        let page = layout::PAGE as usize;
        let Ok(at) = self.at(gpa, 2 * page) else {
            return false;
        };
        let mut resident = 0;
        // SAFETY: `at` checked two pages; zero is what the untouched one has; `resident` has room for one page.
        let told = unsafe {
            at.write_volatile(0);
            libc::mincore(at.wrapping_add(page).cast(), page, &raw mut resident)
        };
        told == 0 && resident & 1 != 0
    }

    /// Where pages are automatic and the kernel got huge ones, asks for them at the end of RAM below `used_from` too:
    /// there the kernel allocates first, from the top down, and touches all of its memory map (1/64 of RAM). Profile
    /// min to ready at 128 MiB in the lab: 33.4 ms and 3,229 page faults without, 30.9 ms and 2,714 with.
    pub fn expect_memory_map(&self, used_from: u64) {
        if self.pages != Pages::Auto || self.copied.is_empty() {
            return;
        }
        let Some(last) = self.regions().last() else {
            return;
        };
        let end = if last.gpa == 0 {
            used_from.min(last.len) & !(PAGE - 1)
        } else {
            last.gpa + last.len
        };
        // One huge page more than the memory map, for what is allocated beside it.
        let len = (self.len / MEMORY_MAP_SHARE).next_multiple_of(PAGE) + PAGE;
        let Some(start) = end.checked_sub(len) else {
            return;
        };
        self.advise_huge(start..start + len);
    }
}
