//! LZ4's legacy frames, which `lz4 -l` writes: a magic number, then blocks, each with its length in front.
//!
//! Source: doc/lz4_Frame_format.md of LZ4, "Legacy frame".

use crate::base::bytes::u32_at;
use crate::base::cast::to_usize;
use std::io;

/// What a frame begins with.
pub(super) const MAGIC: &[u8] = &[0x02, 0x21, 0x4c, 0x18];

/// What each block but the last becomes.
const BLOCK: usize = 8 << 20;

/// Decompresses frames to at most `limit` bytes.
pub(super) fn decompress(frame: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(len) = u32_at(frame, at) {
        at += 4;
        // Where frames are joined, the next magic number is where a length would be.
        if len.to_le_bytes() == MAGIC {
            continue;
        }
        let end = at.saturating_add(to_usize(len.into()));
        let block = frame.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        let before = out.len();
        let room = BLOCK.min(limit.saturating_sub(before));
        out.resize(before + room, 0);
        let made = lz4_flex::block::decompress_into(block, &mut out[before..]);
        out.truncate(before + made.map_err(io::Error::other)?);
        at = end;
    }
    Ok(out)
}
