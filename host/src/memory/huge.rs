//! Which guest memory gets transparent huge pages.

use super::guest::GuestMemory;
use super::pages::Pages;
use super::thp::PAGE;
use crate::layout;
use std::ops::Range;

/// A huge page of which a kernel has no more than this, its page tables, is not worth clearing.
const MOST_IN_SMALL_PAGES: u64 = 512 << 10;

/// A kernel of more than this has so many drivers and caches to set up that it allocates much behind its image.
const LARGE: u64 = 4 << 20;

/// What profile default touches behind its image without X86_LOW_MEMORY.
const ALLOCATIONS: u64 = 3 << 19;

/// The largest initramfs that is placed behind the kernel.
const SMALL: u64 = 64 << 10;

impl GuestMemory {
    /// Asks for huge pages under the kernel and below it, where it first allocates, and behind a large one.
    ///
    /// A kernel touches most of its image, and clearing a huge page costs no more than some 70 nested page faults, so a
    /// kernel that is smaller than that gets none. Below a kernel in the second huge page there is only the MiB before it,
    /// which the kernel is not told of, so that it allocates behind itself. There are none at the end of RAM, where other
    /// kernels put their memory map and what they allocate first (X86_LOW_MEMORY of ours): they touch few pages of it.
    ///
    /// `boot` is where the text begins that a boot runs: what lies before it is seldom run, and stays in the file's own
    /// small pages, which are there when somebody runs them.
    pub fn expect_kernel(&mut self, kernel: Range<u64>, boot: u64) {
        if !matches!(self.pages, Pages::Auto | Pages::Transparent) {
            return;
        }
        let [start, end] = [boot, kernel.end].map(|gpa| gpa.min(self.low_end()));
        let start = start.next_multiple_of(PAGE);
        let len = end.saturating_sub(kernel.start);
        // A last page of which the kernel has little stays small, unless it goes on there with what it allocates.
        let end = match len {
            0..=LARGE => end.saturating_sub(MOST_IN_SMALL_PAGES),
            _ => end.saturating_add(ALLOCATIONS),
        };
        let end = end.min(self.low_end() - PAGE).next_multiple_of(PAGE);
        let below = if start == PAGE { start } else { 0 };
        if start < end && self.advise_huge(below..end) && self.first_is_huge(start) {
            self.copied = start..end;
            self.first_usable = self.first_usable.max(below);
            self.huge = true;
        }
    }

    /// A place for `len` bytes behind the kernel, in its last huge page: at the end of memory, each page of an initramfs is
    /// a page fault, and two more when it is freed. Only little goes there, for the kernel needs the space.
    pub(crate) fn space_behind(&self, kernel_end: u64, len: u64) -> Option<u64> {
        let start = kernel_end.checked_next_multiple_of(layout::PAGE)?;
        let room = self.copied.start..self.copied.end.min(self.low_end());
        let fits = len <= SMALL && room.contains(&start) && len <= room.end - start;
        fits.then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_initramfs_lies_with_the_kernel() {
        let mut memory = GuestMemory::new(16, Pages::Auto).unwrap();
        let end = (4 << 20) + 5;
        assert_eq!(
            memory.space_behind(end, layout::PAGE),
            None,
            "no huge page yet"
        );
        memory.copied = 2 << 20..(4 << 20) + 3 * layout::PAGE;
        let start = (4 << 20) + layout::PAGE;
        assert_eq!(memory.space_behind(end, 2 * layout::PAGE), Some(start));
        assert_eq!(memory.space_behind(end, 2 * layout::PAGE + 1), None);
        assert_eq!(memory.space_behind(1 << 20, layout::PAGE), None);
        memory.copied = 0..16 << 20;
        assert_eq!(memory.space_behind(end, SMALL), Some(start));
        assert_eq!(memory.space_behind(end, SMALL + 1), None);
        assert_eq!(memory.space_behind(16 << 20, 0), None);
        assert_eq!(memory.space_behind(u64::MAX, 0), None);
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
            let boot = kernel.start;
            memory.expect_kernel(kernel, boot);
        }
    }
}
