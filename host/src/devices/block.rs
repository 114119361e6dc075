//! A disk: a file or a block device of the host (virtio 1.2, 5.2).

use super::virtio::buffers::Buffers;
use super::virtio::config::Config;
use super::virtio::device::Device;
use super::virtio::io::Io;
use super::virtio::queue::{Chain, Fault};
use crate::base::bytes::{u32_at, u64_at};
use crate::base::cast::{to_u32, to_usize};
use crate::base::stop::Stop;
use crate::error::{Error, Result};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, fdatasync, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::mem::offset_of;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK,
    VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
    VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, virtio_blk_config,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

/// The unit of every address and size.
const SECTOR: u64 = 512;

/// Feature bits.
const SEG_MAX: u64 = 1 << VIRTIO_BLK_F_SEG_MAX;
const RO: u64 = 1 << VIRTIO_BLK_F_RO;
const FLUSH: u64 = 1 << VIRTIO_BLK_F_FLUSH;
const DISCARD: u64 = 1 << VIRTIO_BLK_F_DISCARD;
const WRITE_ZEROES: u64 = 1 << VIRTIO_BLK_F_WRITE_ZEROES;

/// The size of the virtqueue, and the most data buffers of a request that also has a header and a status.
const QUEUE_SIZE: u16 = 256;
const MAX_SEGMENTS: u32 = QUEUE_SIZE as u32 - 2;

/// The most sectors of a discard or zeroing: 1 GiB, so that one request does not hold up the others for long.
const MAX_RANGE: u32 = 2 << 20;
/// How much of a range is discarded or zeroed at once: a thread that is to stop looks for that in between.
const PIECE: u64 = 64 << 20;
/// The most ranges of a request.
const MAX_RANGES: u32 = 16;

/// A disk to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The file or block device.
    pub path: PathBuf,
    /// Whether the guest cannot write to it.
    pub read_only: bool,
    /// Whether to bypass the host's page cache.
    pub direct: bool,
}

/// The device.
#[derive(Debug)]
pub struct Block {
    file: File,
    sectors: u64,
    read_only: bool,
}

impl Block {
    /// Opens the file, and locks it: two machines that write to one file system destroy it.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn open(disk: &Disk) -> Result<Self> {
        let failed = |error: io::Error| {
            let advice = match error.kind() {
                io::ErrorKind::WouldBlock => {
                    "; another process uses it: end that, or have both use it read-only (,ro)"
                }
                io::ErrorKind::PermissionDenied if !disk.read_only => "; to only read it, add ,ro",
                _ => "",
            };
            Error::Device(format!("--disk {}: {error}{advice}", disk.path.display()))
        };
        let mut flags = OFlags::CLOEXEC;
        flags.set(OFlags::DIRECT, disk.direct);
        let mut file = File::options()
            .read(true)
            .write(!disk.read_only)
            .custom_flags(flags.bits().cast_signed())
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

    /// Serves a request; returns how many bytes were written to the guest.
    fn serve(&self, mut chain: Chain<'_>, stop: &Stop) -> std::result::Result<u32, Fault> {
        let mut rest = chain.writable;
        let data = rest.len().checked_sub(1).and_then(|len| rest.take(len));
        let (Some(data), Some(header)) = (data, chain.readable.array::<16>()) else {
            return Err(Fault::Chain("a request has no header or no status"));
        };
        let (status, written) = match self.request(header, chain.readable, data, stop) {
            Ok(written) => (VIRTIO_BLK_S_OK, written),
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                (VIRTIO_BLK_S_UNSUPP, 0)
            }
            Err(_) => (VIRTIO_BLK_S_IOERR, 0),
        };
        // One byte, the low one.
        rest.write(&status.to_le_bytes()[..1]);
        Ok(written + 1)
    }

    /// Does what a header (`struct virtio_blk_outhdr`) asks, with `data` from the guest and `into` to it; returns how many
    /// bytes of `into` were filled.
    fn request(
        &self,
        header: [u8; 16],
        data: Buffers<'_>,
        mut into: Buffers<'_>,
        stop: &Stop,
    ) -> io::Result<u32> {
        let kind = u32_at(&header, 0).unwrap_or_default();
        let sector = u64_at(&header, 8).unwrap_or_default();
        match kind {
            VIRTIO_BLK_T_IN => {
                let len = into.len();
                let offset = self.offset(sector, len as u64)?;
                let read = into.fill_from(&self.file, offset, stop)?;
                if read < len {
                    // The file has become shorter than it was.
                    return Err(Errno::IO.into());
                }
                return Ok(to_u32(read));
            }
            VIRTIO_BLK_T_OUT => {
                self.check_writable()?;
                let offset = self.offset(sector, data.len() as u64)?;
                data.store_to(&self.file, offset, stop)?;
            }
            VIRTIO_BLK_T_FLUSH => fdatasync(&self.file)?,
            VIRTIO_BLK_T_GET_ID => {
                let mut id = [0; VIRTIO_BLK_ID_BYTES as usize];
                id[..5].copy_from_slice(b"jiffy");
                return Ok(to_u32(into.write(&id)));
            }
            VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES => self.clear(kind, data, stop)?,
            _ => return Err(Errno::OPNOTSUPP.into()),
        }
        Ok(0)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.read_only {
            return Err(Errno::ROFS.into());
        }
        Ok(())
    }

    /// The offset in the file of `len` bytes from a sector on; `EINVAL` if the disk does not have them.
    fn offset(&self, sector: u64, len: u64) -> io::Result<u64> {
        let end = sector.checked_add(len / SECTOR);
        match end {
            Some(end) if len.is_multiple_of(SECTOR) && end <= self.sectors => Ok(sector * SECTOR),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Discards or zeroes ranges, each a `struct virtio_blk_discard_write_zeroes`: a sector (u64), a number of sectors
    /// (u32) and flags (u32).
    fn clear(&self, kind: u32, mut ranges: Buffers<'_>, stop: &Stop) -> io::Result<()> {
        const UNMAP: u32 = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
        self.check_writable()?;
        if ranges.is_empty() || ranges.len() > 16 * MAX_RANGES as usize {
            return Err(Errno::INVAL.into());
        }
        while !ranges.is_empty() {
            let range: [u8; 16] = ranges.array().ok_or(Errno::INVAL)?;
            let sector = u64_at(&range, 0).unwrap_or_default();
            let [count, flags] = [8, 12].map(|at| u32_at(&range, at).unwrap_or_default());
            if flags & !UNMAP != 0 || kind == VIRTIO_BLK_T_DISCARD && flags != 0 {
                return Err(Errno::OPNOTSUPP.into());
            }
            let len = u64::from(count) * SECTOR;
            let offset = self.offset(sector, len)?;
            if len == 0 || count > MAX_RANGE {
                return Err(Errno::INVAL.into());
            }
            let hole = kind == VIRTIO_BLK_T_DISCARD || flags & UNMAP != 0;
            let how = if hole {
                FallocateFlags::PUNCH_HOLE
            } else {
                FallocateFlags::ZERO_RANGE
            };
            let how = how | FallocateFlags::KEEP_SIZE;
            for done in (0..len).step_by(to_usize(PIECE)) {
                if stop.requested() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                fallocate(&self.file, how, offset + done, PIECE.min(len - done))?;
            }
        }
        Ok(())
    }
}

impl Device for Block {
    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
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

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    fn config(&self) -> Arc<Config> {
        type Fields = virtio_blk_config;
        let mut bytes = vec![0; offset_of!(Fields, write_zeroes_may_unmap) + 4];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset_of!(Fields, capacity), &self.sectors.to_le_bytes());
        for (at, value) in [
            (offset_of!(Fields, seg_max), MAX_SEGMENTS),
            (offset_of!(Fields, max_discard_sectors), MAX_RANGE),
            (offset_of!(Fields, max_discard_seg), MAX_RANGES),
            (offset_of!(Fields, discard_sector_alignment), 8),
            (offset_of!(Fields, max_write_zeroes_sectors), MAX_RANGE),
            (offset_of!(Fields, max_write_zeroes_seg), MAX_RANGES),
        ] {
            put(at, &value.to_le_bytes());
        }
        put(offset_of!(Fields, write_zeroes_may_unmap), &[1]);
        Config::new(bytes)
    }

    fn notified(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let stop = &io.stop;
        io.queues[0].serve(&io.memory, &io.interrupt, |chain| self.serve(chain, stop))
    }
}
