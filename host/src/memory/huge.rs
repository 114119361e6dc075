//! Which guest memory gets transparent huge pages.

use super::guest::GuestMemory;
use super::pages::Pages;
use super::thp::PAGE;
use crate::layout;
use std::ops::Range;

/// A huge page of which a kernel has no more than this is not worth its clearing: page tables, that is.
const MOST_IN_SMALL_PAGES: u64 = 512 << 10;

/// A kernel of more than this has so many drivers and caches to set up that it needs room for them.
const LARGE: u64 = 4 << 20;

/// As much room: what profile default touches behind its image without X86_LOW_MEMORY.
const ROOM: u64 = 3 << 19;

/// The most of an initramfs that lies behind the kernel.
const SMALL: u64 = 64 << 10;

impl GuestMemory {
    /// Asks for huge pages under the kernel and below it, where it first allocates; and behind one that is large. A kernel
    /// touches most of its image, and clearing a huge page costs no more than 68 nested faults; a kernel that is smaller
    /// than that gets none. Below one that lies in the second huge page there is only the MiB before it: the kernel is
    /// not told of it, and allocates behind itself (0.18 lab ms). To ready in the lab at 128 MiB, with
    /// page faults:
    ///
    /// | profile | small pages | huge ones |
    /// |---|---|---|
    /// | min | 7.1 ms, 917 | 3.4 ms, 4 |
    /// | default | 9.1 ms, 1,187 | 4.4 ms, 5 |
    ///
    /// None at the end of RAM, where other kernels put their memory map and what they allocate first (X86_LOW_MEMORY of
    /// ours): some 50 small pages in a guest of 128 MiB, and at 16 GiB some pages each of eight huge ones.
    ///
    /// What a kernel keeps apart as seldom run, before `boot`, is left in small pages: the file's own, which are there
    /// when they are run.
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
            _ => end.saturating_add(ROOM),
        };
        let end = end.min(self.low_end() - PAGE).next_multiple_of(PAGE);
        let below = if start == PAGE { start } else { 0 };
        if start < end && self.advise_huge(below..end) && self.first_is_huge(start) {
            self.copied = start..end;
            self.first_usable = self.first_usable.max(below);
            self.huge = true;
        }
    }

    /// A place for `len` bytes behind the kernel, in its last huge page: at the end of memory, each of an initramfs' pages
    /// is a page fault, and two more when it is freed (0.04 lab ms for default's three). What is larger goes there, for
    /// the kernel needs the room.
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
