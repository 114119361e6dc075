//! The compressions that Linux packs itself with (`HAVE_KERNEL_*` in arch/x86/Kconfig; scripts/Makefile.lib has their
//! options), told apart by what they begin with.

use super::{lz4, lzo};
use crate::base::bytes::u32_at;
use crate::base::cast::to_usize;
use crate::error::BzImageFault;
use lzma_rust2::{LzmaReader, XzReader};
use ruzstd::decoding::StreamingDecoder;
use std::io::{self, Read};

/// The payload's last bytes say how large it is when decompressed; in gzip's they are part of the format.
const TRAILER: usize = 4;

/// The largest dictionary or window that a decompressor may have: `zstd --ultra -22` takes 128 MiB where it does not
/// know the size, and nothing else in Linux takes as much.
const MAX_WINDOW: u64 = 128 << 20;

/// The same in KiB, with some for tables.
const MAX_WINDOW_KIB: u32 = (128 << 10) + 1024;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const LZMA: &[u8] = &[0x5d, 0, 0];

/// Decompresses a payload that says it becomes at most `limit` bytes.
pub(super) fn undo(payload: &[u8], limit: usize) -> Result<Vec<u8>, BzImageFault> {
    let data = &payload[..payload.len().saturating_sub(TRAILER)];
    let known = [GZIP, XZ, ZSTD, BZIP2, LZMA, lz4::MAGIC, lzo::MAGIC];
    if !known.iter().any(|magic| payload.starts_with(magic)) {
        let mut head = payload.to_vec();
        head.truncate(TRAILER);
        return Err(BzImageFault::Compression(head));
    }
    let size = to_usize(u32_at(payload, data.len()).unwrap_or(0).into());
    if size > limit {
        return Err(BzImageFault::Size(size));
    }
    let damaged = |error: io::Error| BzImageFault::Damaged(error.to_string());
    // One byte more than it may have tells that it has too many.
    let out = decompress(payload, data, size + 1).map_err(damaged)?;
    if out.len() != size {
        let len = out.len();
        return Err(BzImageFault::Length { len, size });
    }
    Ok(out)
}

fn decompress(payload: &[u8], data: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    if data.starts_with(lz4::MAGIC) {
        return lz4::decompress(data, limit);
    }
    if data.starts_with(lzo::MAGIC) {
        return lzo::decompress(data, limit);
    }
    let mut reader: Box<dyn Read + '_> = if payload.starts_with(GZIP) {
        Box::new(flate2::read::GzDecoder::new(payload))
    } else if data.starts_with(XZ) {
        Box::new(XzReader::new_mem_limit(data, false, MAX_WINDOW_KIB))
    } else if data.starts_with(ZSTD) {
        let decoder = StreamingDecoder::new_with_max_window_size(data, MAX_WINDOW);
        Box::new(decoder.map_err(io::Error::other)?)
    } else if data.starts_with(BZIP2) {
        Box::new(bzip2::read::BzDecoder::new(data))
    } else {
        Box::new(LzmaReader::new_mem_limit(data, MAX_WINDOW_KIB, None)?)
    };
    let mut out = Vec::new();
    reader.by_ref().take(limit as u64).read_to_end(&mut out)?;
    Ok(out)
}
