//! Mappings of this process, unmapped when their last owner drops them.
//!
//! unsafe lives here because mapping memory is unsafe.
#![allow(unsafe_code)]

use super::pages::Pages;
use super::thp;
use crate::base::cast::to_usize;
use crate::error::{Result, system};
use rustix::mm::{self, MapFlags, ProtFlags};
use std::ffi;
use std::fs::File;
use std::io;
use std::ptr;

/// A mapping of our own, there until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut ffi::c_void,
    len: usize,
}

impl Mapping {
    /// Zeroed memory that a guest may have, `len` bytes of it from the first multiple of a huge page on. Pages of the
    /// pool are reserved now; others come when they are touched.
    ///
    /// # Errors
    /// [`crate::Error::System`]: too few pages in the pool, or no address space.
    pub(super) fn anonymous(len: u64, pages: Pages) -> Result<Self> {
        let (flags, len) = match pages {
            // Without NORESERVE the kernel refuses now what it would otherwise answer later with SIGBUS.
            Pages::Huge => (
                MapFlags::HUGETLB | MapFlags::HUGE_2MB,
                len.next_multiple_of(thp::PAGE),
            ),
            // Space to start at a multiple of a huge page, which kernels before 6.7 do not do by themselves.
            _ => (MapFlags::NORESERVE, len + thp::PAGE),
        };
        let len = to_usize(len);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice aliases nothing.
        let start =
            unsafe { mm::mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE | flags) };
        let start = start.map_err(system("mmap of guest memory"))?;
        Ok(Self { start, len })
    }

    /// `len` bytes of a file, to be read.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(super) fn of_file(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let (access, flags) = (ProtFlags::READ, MapFlags::PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mm::mmap(ptr::null_mut(), len, access, flags, file, offset) }?;
        Ok(Self { start, len })
    }

    /// Its first byte. Nothing is read or written through this type.
    pub(super) fn start(&self) -> *mut u8 {
        self.start.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more. An error would leak it: harmless.
        let _ = unsafe { mm::munmap(self.start, self.len) };
    }
}

// SAFETY: the mapping is valid in every thread, and nothing is read or written through this type.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}
