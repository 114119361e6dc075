//! LZO1X in lzop's container. No kept crate of a fitting licence has a decompressor that damage cannot make panic.
//!
//! Source: Documentation/staging/lzo.rst and lib/decompress_unlzo.c of Linux.

use crate::base::bytes::array_at;
use crate::base::cast::to_usize;
use std::io;

/// The first of the container's nine magic bytes.
pub(super) const MAGIC: &[u8] = &[0x89, b'L', b'Z', b'O'];

/// Offset of the container's version, which is of 16 bits.
const VERSION: usize = 9;

/// The first version with a filter and a level.
const VERSION_LEVEL: u16 = 0x0940;

/// The header's flag of a filter, and those of checksums behind each block's lengths.
const HAS_FILTER: u32 = 0x800;
const SUMS_OUT: [u32; 2] = [1, 0x100];
const SUMS_IN: [u32; 2] = [2, 0x200];

/// The largest block that lzop writes.
const MAX_BLOCK: usize = 64 << 20;

/// Decompresses a container of one file to at most `limit` bytes.
pub(super) fn decompress(file: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (flags, mut at) = header(file).ok_or_else(cut)?;
    let count = |sums: [u32; 2]| sums.iter().filter(|&&sum| flags & sum != 0).count();
    let mut out = Vec::new();
    loop {
        // A block of no bytes is the end.
        let size = match word(file, at) {
            None | Some(0) => return Ok(out),
            Some(size) => size,
        };
        let len = word(file, at + 4).ok_or_else(cut)?;
        // A block that does not shrink is stored, and has one kind of checksum.
        let packed = len < size;
        let sums = count(SUMS_OUT) + if packed { count(SUMS_IN) } else { 0 };
        at += 8 + 4 * sums;
        let end = at.checked_add(len).ok_or_else(cut)?;
        let block = file.get(at..end).ok_or_else(cut)?;
        if size > MAX_BLOCK || size > limit.saturating_sub(out.len()) {
            return Err(io::Error::other("a block is larger than the whole may be"));
        }
        if packed {
            let whole = out.len() + size;
            Block {
                bytes: block,
                at: 0,
            }
            .unpack(&mut out, whole)
            .ok_or_else(wrong)?;
        } else {
            out.extend_from_slice(block);
        }
        at = end;
    }
}

fn wrong() -> io::Error {
    io::Error::other("a block is not LZO1X")
}

fn word(file: &[u8], at: usize) -> Option<usize> {
    array_at(file, at).map(|bytes| to_usize(u32::from_be_bytes(bytes).into()))
}

/// The flags, and where the first block begins.
fn header(file: &[u8]) -> Option<(u32, usize)> {
    let version = u16::from_be_bytes(array_at(file, VERSION)?);
    // Two more versions and the method follow, and later the level.
    let at = VERSION + if version >= VERSION_LEVEL { 8 } else { 7 };
    let flags = u32::from_be_bytes(array_at(file, at)?);
    let mut at = at + 4 + if flags & HAS_FILTER != 0 { 4 } else { 0 };
    // Mode and time; the upper half of the time came with the level.
    at += if version >= VERSION_LEVEL { 12 } else { 8 };
    // The name behind its length, and the header's checksum.
    Some((flags, at + 1 + usize::from(*file.get(at)?) + 4))
}

/// A block while it is read.
struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Block<'_> {
    fn byte(&mut self) -> Option<usize> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte.into())
    }

    /// The rest of a length of which `bits` were all zero: each zero byte adds 255.
    fn long(&mut self, bits: usize) -> Option<usize> {
        let mut len = (1 << bits) - 1;
        loop {
            match self.byte()? {
                0 => len += 255,
                last => return Some(len + last),
            }
        }
    }

    fn length(&mut self, field: usize, bits: usize) -> Option<usize> {
        if field == 0 {
            self.long(bits)
        } else {
            Some(field)
        }
    }

    fn literals(&mut self, out: &mut Vec<u8>, len: usize, end: usize) -> Option<()> {
        let from = self.at;
        self.at = from.checked_add(len)?;
        let bytes = self.bytes.get(from..self.at)?;
        (bytes.len() <= end - out.len()).then(|| out.extend_from_slice(bytes))
    }

    /// Decompresses the whole of it, until `out` has `end` bytes.
    fn unpack(mut self, out: &mut Vec<u8>, end: usize) -> Option<()> {
        let start = out.len();
        // How many literals followed the instruction before: 4 stands for a run of them.
        let mut state = 0;
        if let Some(first) = self.bytes.first().copied().filter(|&first| first > 17) {
            self.at = 1;
            let len = usize::from(first) - 17;
            self.literals(out, len, end)?;
            state = len.min(4);
        }
        loop {
            let code = self.byte()?;
            let (distance, len, low) = match code {
                0..16 if state == 0 => {
                    let len = self.length(code, 4)? + 3;
                    self.literals(out, len, end)?;
                    state = 4;
                    continue;
                }
                0..16 => {
                    let near = (self.byte()? << 2) + (code >> 2) + 1;
                    if state == 4 {
                        (near + 2048, 3, code)
                    } else {
                        (near, 2, code)
                    }
                }
                16..32 => {
                    let len = self.length(code & 7, 3)? + 2;
                    let word = self.byte()? | self.byte()? << 8;
                    let distance = 16384 + ((code & 8) << 11) + (word >> 2);
                    if distance == 16384 {
                        return (out.len() == end).then_some(());
                    }
                    (distance, len, word)
                }
                32..64 => {
                    let len = self.length(code & 31, 5)? + 2;
                    let word = self.byte()? | self.byte()? << 8;
                    ((word >> 2) + 1, len, word)
                }
                _ => {
                    let distance = (self.byte()? << 3) + ((code >> 2) & 7) + 1;
                    (distance, (code >> 5) + 1, code)
                }
            };
            repeat(out, start, distance, len, end)?;
            state = low & 3;
            self.literals(out, state, end)?;
        }
    }
}

/// Copies bytes that are there already, of this block; the copy may overlap what it makes.
fn repeat(out: &mut Vec<u8>, start: usize, distance: usize, len: usize, end: usize) -> Option<()> {
    let from = out
        .len()
        .checked_sub(distance)
        .filter(|&from| from >= start)?;
    if len > end - out.len() {
        return None;
    }
    for at in from..from + len {
        out.push(out[at]);
    }
    Some(())
}
