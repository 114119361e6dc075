//! Buffers of a descriptor chain: pieces of guest memory that are copied from and to, or handed to the host's kernel to
//! read and write files without a copy.
//!
//! unsafe lives here because the kernel is given addresses of guest memory; they come from vm-memory's checked slices.
#![allow(unsafe_code)]

use crate::base::cast::{to_u32, to_usize};
use crate::base::stop::Stop;
use crate::layout;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use vm_memory::VolatileSlice;

/// The most vectors that the kernel takes in one call (`UIO_MAXIOV`).
const UIO_MAXIOV: usize = 1024;

/// How many bytes are moved or given back at once: a thread that is to stop looks for that in between. The host takes about
/// a millisecond for them.
const PIECE: usize = 8 << 20;

/// Pieces of guest memory, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers<'m> {
    slices: VecDeque<VolatileSlice<'m>>,
}

/// In which direction bytes go between a file and guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    FromFile,
    ToFile,
}

/// `readv` or `writev`.
type VectorCall =
    unsafe extern "C" fn(libc::c_int, *const libc::iovec, libc::c_int) -> libc::ssize_t;

impl<'m> Buffers<'m> {
    /// Appends a piece.
    pub(crate) fn push(&mut self, slice: VolatileSlice<'m>) {
        self.slices.push_back(slice);
    }

    /// How many bytes they are together.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.slices
            .iter()
            .fold(0, |sum, slice| sum.saturating_add(slice.len()))
    }

    /// Whether there is no byte.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.slices.iter().all(|slice| slice.len() == 0)
    }

    /// Takes the first `count` bytes off; `None` if there are fewer.
    pub(crate) fn take(&mut self, count: usize) -> Option<Buffers<'m>> {
        if self.len() < count {
            return None;
        }
        let mut front = Buffers::default();
        let mut left = count;
        while left > 0 {
            let slice = self.slices.pop_front()?;
            if slice.len() > left {
                self.slices.push_front(slice.offset(left).ok()?);
                front.push(slice.subslice(0, left).ok()?);
                break;
            }
            left -= slice.len();
            front.push(slice);
        }
        Some(front)
    }

    /// Copies the first bytes into `into` and takes them off; `None` if there are fewer.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Option<()> {
        let front = self.take(into.len())?;
        let mut at = 0;
        for slice in &front.slices {
            at += slice.copy_to(&mut into[at..]);
        }
        Some(())
    }

    /// The first `N` bytes, taken off.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(&mut bytes).map(|()| bytes)
    }

    /// Copies as much of `from` as fits, and takes those buffers off; returns how many bytes that was.
    pub(crate) fn write(&mut self, from: &[u8]) -> usize {
        let count = from.len().min(self.len());
        let Some(front) = self.take(count) else {
            return 0;
        };
        let mut at = 0;
        for slice in &front.slices {
            slice.copy_from(&from[at..at + slice.len()]);
            at += slice.len();
        }
        count
    }

    /// Fills all of them with a file's bytes from `offset`; returns how many bytes the file had.
    ///
    /// # Errors
    /// The kernel's error; `Interrupted` if the thread is to stop.
    pub(crate) fn fill_from(self, file: &File, offset: u64, stop: &Stop) -> io::Result<usize> {
        self.transfer(Direction::FromFile, file, offset, stop)
    }

    /// Writes all of them to a file at `offset`.
    ///
    /// # Errors
    /// The kernel's error; `WriteZero` if the file takes no more; `Interrupted` if the thread is to stop.
    pub(crate) fn store_to(self, file: &File, offset: u64, stop: &Stop) -> io::Result<()> {
        let len = self.len();
        match self.transfer(Direction::ToFile, file, offset, stop)? {
            done if done == len => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn transfer(
        mut self,
        direction: Direction,
        file: &File,
        offset: u64,
        stop: &Stop,
    ) -> io::Result<usize> {
        let mut done = 0;
        while !self.is_empty() {
            if stop.requested() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let position = libc::off_t::try_from(offset + done as u64)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            let vectors = self.vectors(PIECE);
            let (fd, count) = (file.as_raw_fd(), count(&vectors));
            // SAFETY: each vector is a piece of guest memory that a VolatileSlice checked and keeps mapped; guest
            // memory has no Rust references into it that the kernel's writes could invalidate.
            let moved = unsafe {
                match direction {
                    Direction::FromFile => libc::preadv(fd, vectors.as_ptr(), count, position),
                    Direction::ToFile => libc::pwritev(fd, vectors.as_ptr(), count, position),
                }
            };
            match checked(moved) {
                Ok(0) => break,
                Ok(moved) => {
                    done += moved;
                    self.take(moved);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Sends all of them as one datagram, or as much of a stream as it takes; returns how many bytes went.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn send(&self, to: &impl AsRawFd) -> io::Result<usize> {
        self.once(libc::writev, to)
    }

    /// Receives what is available, at most as much as fits; returns the number of bytes.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn receive(&self, from: &impl AsRawFd) -> io::Result<usize> {
        self.once(libc::readv, from)
    }

    fn once(&self, call: VectorCall, file: &impl AsRawFd) -> io::Result<usize> {
        let vectors = self.vectors(usize::MAX);
        let (fd, count) = (file.as_raw_fd(), count(&vectors));
        // SAFETY: as in `transfer`; the call is one of the two.
        checked(unsafe { call(fd, vectors.as_ptr(), count) })
    }

    /// Gives the whole pages among them back to the host; touched again, they are zero. The host keeps parts of huge pages
    /// of its pool. Leaves off when the thread is to stop.
    pub(crate) fn discard(&self, stop: &Stop) {
        let page = to_usize(layout::PAGE);
        for slice in &self.slices {
            let start = slice.ptr_guard_mut().as_ptr();
            let skipped = start.align_offset(page);
            let Some(len) = slice.len().checked_sub(skipped) else {
                continue;
            };
            let len = len & !(page - 1);
            for done in (0..len).step_by(PIECE) {
                if stop.requested() {
                    return;
                }
                // SAFETY: the pages are wholly in a piece of guest memory that a VolatileSlice checked and keeps
                // mapped; what is in there is the guest's, and changes under our hands anyway.
                unsafe {
                    let at = start.wrapping_add(skipped + done).cast();
                    libc::madvise(at, PIECE.min(len - done), libc::MADV_DONTNEED);
                }
            }
        }
    }

    /// The first `most` bytes, in as many vectors as the kernel takes.
    fn vectors(&self, most: usize) -> Vec<libc::iovec> {
        let mut left = most;
        self.slices
            .iter()
            .filter(|slice| !slice.is_empty())
            .take(UIO_MAXIOV)
            .map(|slice| {
                let iov_len = slice.len().min(left);
                left -= iov_len;
                libc::iovec {
                    iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                    iov_len,
                }
            })
            .take_while(|vector| vector.iov_len > 0)
            .collect()
    }
}

/// How many vectors there are: at most [`UIO_MAXIOV`].
fn count(vectors: &[libc::iovec]) -> libc::c_int {
    to_u32(vectors.len()).cast_signed()
}

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    fn of(parts: &mut [Vec<u8>]) -> Buffers<'_> {
        let mut buffers = Buffers::default();
        for part in parts {
            buffers.push(VolatileSlice::from(&mut part[..]));
        }
        buffers
    }

    #[test]
    fn bytes_come_off_the_front_across_stretches() {
        let mut parts = [b"ab".to_vec(), Vec::new(), b"cdef".to_vec()];
        let mut buffers = of(&mut parts);
        assert_eq!(buffers.array::<3>(), Some(*b"abc"));
        assert_eq!(buffers.array::<4>(), None, "only three are left");
        assert_eq!(buffers.write(b"xyz!"), 3);
        assert!(buffers.is_empty());
        assert_eq!(parts[2], b"cxyz");
    }

    #[test]
    fn files_are_read_and_written_in_place() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut parts = [vec![0; 3], vec![0; 5]];
        assert_eq!(
            of(&mut parts)
                .fill_from(&file, 4, &Stop::default())
                .unwrap(),
            6
        );
        assert_eq!(
            (&parts[0][..], &parts[1][..]),
            (&b"456"[..], &b"789\0\0"[..])
        );
        of(&mut parts).store_to(&file, 0, &Stop::default()).unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "456789\0\089");
        assert!(
            of(&mut parts)
                .fill_from(&file, u64::MAX - 2, &Stop::default())
                .is_err()
        );
    }
}
