//! Transparent huge pages: asking the host for them, and seeing whether it gave any.
//!
//! unsafe lives here because both are system calls on raw addresses.
#![allow(unsafe_code)]

use crate::base::cast::to_usize;
use crate::layout;
use rustix::mm::{self, Advice};

/// The size of a huge page.
pub(super) const PAGE: u64 = 2 << 20;

/// Asks for huge pages in `len` bytes at `at`, which are the caller's own mapping. A host that has none refuses, or
/// leaves small pages without an error.
pub(super) fn advise(at: *mut u8, len: usize) -> bool {
    // SAFETY: the advice changes no contents, and a range that is not mapped is an error.
    unsafe { mm::madvise(at.cast(), len, Advice::LinuxHugepage) }.is_ok()
}

/// Touches the small page at `at` and returns whether the next one came with it.
///
/// # Safety
/// Two small pages at `at` are the caller's own writable mapping, still untouched.
pub(super) unsafe fn first_is_huge(at: *mut u8) -> bool {
    let page = to_usize(layout::PAGE);
    let mut resident = 0;
    // SAFETY: the caller's two pages; zero is what the untouched one has; `resident` holds the answer for one page.
    let result = unsafe {
        at.write_volatile(0);
        libc::mincore(at.wrapping_add(page).cast(), page, &raw mut resident)
    };
    result == 0 && resident & 1 != 0
}
