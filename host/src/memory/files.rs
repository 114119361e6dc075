//! Files in guest memory: mapped where pages are small, copied where they are huge.
//!
//! unsafe lives here because mapping and copying take raw addresses, which [`GuestMemory::at`] has checked.
#![allow(unsafe_code)]

use super::guest::GuestMemory;
use super::mapping::Mapping;
use crate::base::cast::to_usize;
use crate::layout;
use rustix::mm::{self, MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

impl GuestMemory {
    /// Puts `len` bytes of `file` from `offset` at `gpa`. Whole small pages are mapped copy-on-write, so that they
    /// are neither read nor copied until the guest writes to them; the rest is read, huge pages are copied.
    ///
    /// # Errors
    /// [`crate::Error::OutOfBounds`], or what reading the file gave; a file that ends early is `UnexpectedEof`.
    pub fn place(&mut self, file: &File, offset: u64, gpa: u64, len: u64) -> io::Result<()> {
        // One check for all parts; it also says that the sums below do not overflow.
        self.at(gpa, to_usize(len)).map_err(io::Error::other)?;
        let end = gpa + len;
        let aligned = (offset | gpa) & (layout::PAGE - 1) == 0;
        // A mapping says nothing of a file that ends early: it has no pages there.
        if aligned && len >= layout::PAGE && offset.saturating_add(len) > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let copied = self.copied.start.clamp(gpa, end)..self.copied.end.clamp(gpa, end);
        for (part, copied) in [
            (gpa..copied.start, false),
            (copied.clone(), true),
            (copied.end..end, false),
        ] {
            let whole = match aligned {
                true => (part.end - part.start) & !(layout::PAGE - 1),
                false => 0,
            };
            let from = offset + (part.start - gpa);
            match whole {
                0 => {}
                whole if copied => self.copy_file(file, from, part.start, whole)?,
                whole => self.map_file(file, from, part.start, whole)?,
            }
            let rest = part.start + whole;
            self.read_file(file, from + whole, rest, part.end - rest)?;
        }
        Ok(())
    }

    /// Replaces whole pages of guest memory by a private mapping of a file's.
    fn map_file(&self, file: &File, offset: u64, gpa: u64, len: u64) -> io::Result<()> {
        let to = self.at(gpa, to_usize(len)).map_err(io::Error::other)?;
        // SAFETY: the range is inside our own mapping (checked by `at`), which this replaces page by page;
        // no Rust reference into it exists.
        unsafe {
            mm::mmap(
                to.cast(),
                to_usize(len),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                file,
                offset,
            )
        }?;
        Ok(())
    }

    /// Copies whole pages of a file, through a mapping of it, which measured faster than `read` and than a populated
    /// mapping. The mapping stays as long as guest memory, because a boot need not wait for unmapping it.
    fn copy_file(&mut self, file: &File, offset: u64, gpa: u64, len: u64) -> io::Result<()> {
        let to = self.at(gpa, to_usize(len)).map_err(io::Error::other)?;
        let from = Mapping::of_file(file, offset, to_usize(len))?;
        // SAFETY: `from` has `len` bytes, and so has guest memory at `to` (checked by `at`), which is another mapping, so
        // the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(from.start(), to, to_usize(len)) };
        self.sources.push(from);
        Ok(())
    }

    /// Reads what does not fill a page. The kernel writes straight into guest memory: a slice of it would be a
    /// reference into what the guest may change at any time.
    fn read_file(&self, file: &File, offset: u64, gpa: u64, len: u64) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let left = to_usize(len - done);
            let to = self.at(gpa + done, left).map_err(io::Error::other)?;
            let position = libc::off_t::try_from(offset + done).map_err(io::Error::other)?;
            // SAFETY: `at` checked `left` bytes at `to`; the kernel writes at most that many.
            let read = unsafe { libc::pread(file.as_raw_fd(), to.cast(), left, position) };
            match u64::try_from(read) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cast::to_u32;
    use crate::memory::Pages;

    #[test]
    fn a_file_reads_back_whatever_the_pages() {
        const MIB: usize = 1 << 20;
        let bytes: Vec<u8> = (0..to_u32(6 * MIB))
            .map(|at| (at / 4096).to_le_bytes()[0] ^ at.to_le_bytes()[0])
            .collect();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &bytes).unwrap();
        for pages in [Pages::Auto, Pages::Small, Pages::Transparent] {
            let mut memory = GuestMemory::new(16, pages).unwrap();
            // From inside a huge page to inside another, both ends odd.
            let (gpa, len) = ((3 * MIB) as u64, bytes.len() - 5);
            memory.expect_kernel(gpa..gpa + len as u64, gpa);
            memory.place(&file, 4096, gpa, len as u64 - 4096).unwrap();
            let mut back = vec![0; len - 4096];
            memory.read(gpa, &mut back).unwrap();
            assert!(back == bytes[4096..len], "{pages:?}");
            assert!(memory.place(&file, 4096, gpa, bytes.len() as u64).is_err());
        }
    }
}
