//! A disk: a file or a block device of the host (virtio 1.2, 5.2).

use super::buffers::Buffers;
use super::ring::{Chain, Fault};
use super::worker::Io;
use super::{Config, Device};
use crate::error::{Error, Result};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, fdatasync, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The unit of every address and size.
const SECTOR: u64 = 512;

/// Features: the most buffers of a request, read-only, flush, discard, write zeros.
const SEG_MAX: u64 = 1 << 2;
const RO: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// Descriptors of the queue, and the most data buffers that a request of header, data and status can have.
const QUEUE: u16 = 256;
const SEGMENTS: u32 = QUEUE as u32 - 2;

/// The most sectors that one discard or zeroing takes: 1 GiB, so that one request does not hold up the others long.
const RANGE_SECTORS: u32 = 2 << 20;
/// The most ranges of a request.
const RANGES: u32 = 16;

/// Types of requests.
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH_OUT: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD_OUT: u32 = 11;
const ZERO_OUT: u32 = 13;

/// Results of requests.
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

/// The length of what `GET_ID` gives.
const ID: usize = 20;

/// A disk to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The file or block device.
    pub path: PathBuf,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// Past the host's page cache.
    pub direct: bool,
}

/// A disk that was opened.
#[derive(Debug)]
pub struct Block {
    file: File,
    sectors: u64,
    read_only: bool,
}

impl Block {
    /// Opens the file, and locks it: two machines that write to one file system destroy it.
    pub fn open(disk: &Disk) -> Result<Self> {
        let failed = |error: io::Error| {
            let advice = match error.kind() {
                io::ErrorKind::WouldBlock => {
                    "; another process uses it: end that, or have both use it read-only (,ro)"
                }
                io::ErrorKind::PermissionDenied if !disk.read_only => "; to read it alone, add ,ro",
                _ => "",
            };
            Error::Device(format!("--disk {}: {error}{advice}", disk.path.display()))
        };
        let mut flags = OFlags::CLOEXEC;
        flags.set(OFlags::DIRECT, disk.direct);
        let mut file = File::options()
            .read(true)
            .write(!disk.read_only)
            .custom_flags(flags.bits() as i32)
            .open(&disk.path)
            .map_err(failed)?;
        let lock = if disk.read_only {
            FlockOperation::NonBlockingLockShared
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        flock(&file, lock).map_err(|errno| failed(errno.into()))?;
        // The end of a block device, too, is found by seeking.
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if bytes < SECTOR {
            return Err(failed(io::Error::other("it is smaller than one sector")));
        }
        Ok(Block {
            file,
            sectors: bytes / SECTOR,
            read_only: disk.read_only,
        })
    }

    /// Serves a request; gives how many bytes were written to the guest.
    fn serve(&self, mut chain: Chain<'_>) -> std::result::Result<u32, Fault> {
        let mut room = chain.writable;
        let data = room.len().checked_sub(1).and_then(|len| room.take(len));
        let (Some(data), Some(header)) = (data, chain.readable.array::<16>()) else {
            return Err(Fault::Chain("a request has no header or no status"));
        };
        let (status, written) = self.request(header, chain.readable, data);
        room.write(&[status]);
        Ok(written + 1)
    }

    /// The status of a request, and how many bytes of `room` it filled.
    fn request(&self, header: [u8; 16], data: Buffers<'_>, mut room: Buffers<'_>) -> (u8, u32) {
        let sector = word64(&header, 8);
        let (len, room_len) = (data.len() as u64, room.len() as u64);
        let done = match word(&header, 0) {
            IN => match self.offset(sector, room_len) {
                Some(offset) => match room.fill_from(&self.file, offset) {
                    // The file has become shorter than it was.
                    Ok(read) if (read as u64) < room_len => Err(Errno::IO.into()),
                    Ok(read) => return (OK, read as u32),
                    Err(error) => Err(error),
                },
                None => Err(Errno::INVAL.into()),
            },
            OUT => self.writable().and_then(|()| {
                let offset = self.offset(sector, len).ok_or(Errno::INVAL)?;
                data.store_to(&self.file, offset)
            }),
            FLUSH_OUT => fdatasync(&self.file).map_err(io::Error::from),
            GET_ID => {
                let mut id = [0; ID];
                id[..5].copy_from_slice(b"jiffy");
                let written = room.write(&id);
                return (OK, written as u32);
            }
            kind @ (DISCARD_OUT | ZERO_OUT) => self.clear(kind, data),
            _ => Err(Errno::OPNOTSUPP.into()),
        };
        let status = match done {
            Ok(()) => OK,
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                UNSUPPORTED
            }
            Err(_) => IO_ERROR,
        };
        (status, 0)
    }

    fn writable(&self) -> io::Result<()> {
        if self.read_only {
            return Err(Errno::ROFS.into());
        }
        Ok(())
    }

    /// The offset in the file of `len` bytes from a sector on, if the disk has them.
    fn offset(&self, sector: u64, len: u64) -> Option<u64> {
        if !len.is_multiple_of(SECTOR) {
            return None;
        }
        let end = sector.checked_add(len / SECTOR)?;
        (end <= self.sectors).then(|| sector * SECTOR)
    }

    /// Discards or zeroes ranges: a sector (u64), a count (u32) and flags (u32) each.
    fn clear(&self, kind: u32, mut ranges: Buffers<'_>) -> io::Result<()> {
        const UNMAP: u32 = 1;
        self.writable()?;
        if ranges.is_empty() || ranges.len() > 16 * RANGES as usize {
            return Err(Errno::INVAL.into());
        }
        while !ranges.is_empty() {
            let range: [u8; 16] = ranges.array().ok_or(Errno::INVAL)?;
            let (sector, count, flags) = (word64(&range, 0), word(&range, 8), word(&range, 12));
            if flags & !UNMAP != 0 || kind == DISCARD_OUT && flags != 0 {
                return Err(Errno::OPNOTSUPP.into());
            }
            let len = u64::from(count) * SECTOR;
            let offset = self.offset(sector, len).ok_or(Errno::INVAL)?;
            if len == 0 || count > RANGE_SECTORS {
                return Err(Errno::INVAL.into());
            }
            let hole = kind == DISCARD_OUT || flags & UNMAP != 0;
            let how = if hole {
                FallocateFlags::PUNCH_HOLE
            } else {
                FallocateFlags::ZERO_RANGE
            };
            fallocate(&self.file, how | FallocateFlags::KEEP_SIZE, offset, len)?;
        }
        Ok(())
    }
}

impl Device for Block {
    fn kind(&self) -> u32 {
        2
    }

    fn name(&self) -> &'static str {
        "disk"
    }

    fn features(&self) -> u64 {
        if self.read_only {
            SEG_MAX | FLUSH | RO
        } else {
            SEG_MAX | FLUSH | DISCARD | WRITE_ZEROES
        }
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE]
    }

    fn config(&self) -> Arc<Config> {
        let mut bytes = vec![0; 60];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.sectors.to_le_bytes());
        put(12, &SEGMENTS.to_le_bytes());
        // Discard, then write zeros: the most sectors, the most ranges, the alignment or whether it may unmap.
        for (at, value) in [(36, RANGE_SECTORS), (40, RANGES), (44, 8)] {
            put(at, &value.to_le_bytes());
        }
        for (at, value) in [(48, RANGE_SECTORS), (52, RANGES)] {
            put(at, &value.to_le_bytes());
        }
        put(56, &[1]);
        Config::new(bytes)
    }

    fn rung(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        io.rings[0].serve(&io.view, &io.interrupt, |chain| self.serve(chain))
    }
}

fn word(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn word64(bytes: &[u8; 16], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
