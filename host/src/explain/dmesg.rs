//! The kernel log, recovered from guest memory without a console.
//!
//! Source of the layout: kernel/printk/printk_ringbuffer.h of Linux 5.10 to 6.12. Everything read here is the
//! guest's to forge: all walks are bounded and all arithmetic is checked or masked.

use super::kernel_memory::KernelMemory;
use super::symbols::Symbols;
use crate::base::bytes::{u32_at, u64_at};
use crate::base::cast::to_usize;
use crate::layout::HIGH_MEMORY;
use crate::memory::GuestMemory;
use std::ops::RangeInclusive;

/// Larger rings are taken for damage: 2^20 records, 2^26 bytes of text.
const MAX_COUNT_BITS: u32 = 20;
const MAX_SIZE_BITS: u32 = 26;

/// `struct prb_desc`, `struct printk_info`: sizes in bytes.
const DESCRIPTOR: u64 = 24;
const INFO: u64 = 88;

/// The two top bits of a descriptor's state: 1 committed, 2 finalized.
const STATE_SHIFT: u32 = 62;

/// A static ring has one descriptor for 32 bytes of text (`PRB_AVGBITS` in kernel/printk/printk.c), and so has one that
/// is allocated.
const TEXT_FOR_RECORD: u32 = 5;

/// The smallest and the largest size of text that Kconfig lets a kernel have.
const SIZE_BITS: RangeInclusive<u32> = 12..=MAX_SIZE_BITS;

/// `struct printk_ringbuffer`, in bytes, and where its second half begins: Linux 6.0 has put a field in front of that.
const RING: usize = 80;
const TEXT_RING: [usize; 2] = [48, 40];

/// Without symbols, the ring is looked for in this much memory, where the kernel's image is.
const SEARCHED: u64 = 256 << 20;

struct Ring<'a> {
    memory: KernelMemory<'a>,
    count_bits: u32,
    descriptors: u64,
    infos: u64,
    head: u64,
    tail: u64,
    size_bits: u32,
    text: u64,
}

/// The log's lines, oldest first, each with its time; empty without a log. Where symbols do not tell where it is, it is
/// known by its form.
#[must_use]
pub fn read(memory: &GuestMemory, cr3: u64, symbols: &Symbols) -> Vec<String> {
    let memory = KernelMemory {
        memory,
        cr3: symbols.page_tables(cr3),
    };
    match symbols.read(memory.memory, "prb").map(u64::from_le_bytes) {
        Some(prb) => Ring::at(memory, prb).map_or_else(Vec::new, |ring| ring.lines()),
        None => find(memory),
    }
}

/// The log of a kernel without symbols. What is static is left behind, with its first lines, by a ring that is allocated: the
/// one with more lines is the kernel's. A guest may have forged any number of rings: together, those that are read have no more
/// records than the largest may have.
fn find(memory: KernelMemory<'_>) -> Vec<String> {
    const PART: u64 = 1 << 20;
    let end = memory.memory.low_end().min(SEARCHED);
    let mut best = Vec::new();
    let mut records = 1_u32 << MAX_COUNT_BITS;
    let mut part = vec![0; to_usize(PART) + RING];
    for at in (HIGH_MEMORY..end).step_by(to_usize(PART)) {
        let len = to_usize((end - at).min(part.len() as u64));
        if memory.memory.read(at, &mut part[..len]).is_err() {
            break;
        }
        for bytes in (0..len)
            .step_by(8)
            .filter_map(|from| part[..len].get(from..from + RING))
        {
            if let Some(ring) = Ring::parse(memory, bytes).filter(Ring::is_likely) {
                let Some(left) = records.checked_sub(1 << ring.count_bits) else {
                    return best;
                };
                records = left;
                let lines = ring.lines();
                if lines.len() > best.len() {
                    best = lines;
                }
            }
        }
    }
    best
}

impl<'a> Ring<'a> {
    fn at(memory: KernelMemory<'a>, address: u64) -> Option<Self> {
        Self::parse(memory, &memory.read::<RING>(address)?)
    }

    fn parse(memory: KernelMemory<'a>, bytes: &[u8]) -> Option<Self> {
        let count_bits = u32_at(bytes, 0).filter(|&bits| bits <= MAX_COUNT_BITS)?;
        let word = |at| u64_at(bytes, at);
        // Before a pointer, the number of bits is followed by padding; in front of that may be a count, which is none.
        let is_text = |&at: &usize| {
            word(at).is_some_and(|bits| bits <= MAX_SIZE_BITS.into() && bits > 0)
                && word(at + 8).is_some_and(|text| text != 0)
        };
        let text_ring = TEXT_RING.into_iter().find(is_text)?;
        Some(Ring {
            memory,
            count_bits,
            descriptors: word(8)?,
            infos: word(16)?,
            head: word(24)?,
            tail: word(32)?,
            size_bits: u32_at(bytes, text_ring)?,
            text: word(text_ring + 8)?,
        })
    }

    /// Whether it is a ring, as far as its form tells.
    fn is_likely(&self) -> bool {
        let pointers = [self.descriptors, self.infos, self.text];
        SIZE_BITS.contains(&self.size_bits)
            && self.count_bits + TEXT_FOR_RECORD == self.size_bits
            && pointers
                .iter()
                .all(|&pointer| pointer >> 47 == 0x1_ffff && pointer & 7 == 0)
            && self.head.wrapping_sub(self.tail) < 1 << self.count_bits
    }

    fn lines(&self) -> Vec<String> {
        let ids = self.head.wrapping_sub(self.tail).min(1 << self.count_bits);
        // Records do not overlap, so all lines together are little longer than the ring: each has its time in front, and
        // three bytes for each byte that is no text.
        let mut limit = 4_usize << self.size_bits;
        (0..=ids)
            .filter_map(|step| self.record(self.tail.wrapping_add(step)))
            .map_while(|line| {
                limit = limit.checked_sub(line.len())?;
                Some(line)
            })
            .collect()
    }

    fn record(&self, id: u64) -> Option<String> {
        let index = id & ((1 << self.count_bits) - 1);
        let descriptor = self.descriptors.wrapping_add(index * DESCRIPTOR);
        let state = self.memory.word(descriptor)?;
        let same_id = (state ^ id) << (64 - STATE_SHIFT) == 0;
        if !same_id || !matches!(state >> STATE_SHIFT, 1 | 2) {
            return None;
        }
        let (begin, next) = (
            self.memory.word(descriptor.wrapping_add(8))?,
            self.memory.word(descriptor.wrapping_add(16))?,
        );
        let info = self.infos.wrapping_add(index * INFO);
        let nanoseconds = self.memory.word(info.wrapping_add(8))?;
        let text_len = u16::from_le_bytes(self.memory.read(info.wrapping_add(16))?);
        let text = self.text(begin, next, usize::from(text_len))?;
        Some(format!(
            "[{:5}.{:06}] {}",
            nanoseconds / 1_000_000_000,
            nanoseconds / 1000 % 1_000_000,
            printable(&text)
        ))
    }

    fn text(&self, begin: u64, next: u64, len: usize) -> Option<Vec<u8>> {
        // Odd positions mark records without text.
        if begin & 1 == 1 {
            return Some(Vec::new());
        }
        let size = 1 << self.size_bits;
        let wraps = begin >> self.size_bits != next.wrapping_sub(1) >> self.size_bits;
        // A block that would cross the ring's end lies at its start; its first word is the record's id.
        let offset = if wraps { 0 } else { begin & (size - 1) } + 8;
        let len = len.min(usize::try_from(size.checked_sub(offset)?).ok()?);
        let mut text = vec![0; len];
        self.memory
            .fill(self.text.wrapping_add(offset), &mut text)
            .ok()?;
        Some(text)
    }
}

/// The text without what could drive the terminal it is shown on.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KERNEL_MAP;
    use crate::memory::{Pages, paging};
    use proptest::prelude::*;

    /// Where the ring and its tables lie, in memory mapped onto itself.
    const PRB: u64 = 1 << 20;
    const DESCRIPTORS: u64 = PRB + 0x1000;
    const INFOS: u64 = PRB + 0x2000;
    const TEXT: u64 = PRB + 0x3000;
    /// One more than the last of them.
    const END: u64 = PRB + 0x4000;

    /// The first descriptor's id.
    const FIRST: u64 = 0x1fff_fffe;

    /// A ring of eight records and 256 bytes with two records in it, the second one across the text's end.
    fn guest() -> (GuestMemory, u64, Symbols) {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        let cr3 = paging::write_identity_map(&memory).unwrap();
        let write = |at: u64, words: &[u64]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            memory.write(at, &bytes).unwrap();
        };
        write(0, &[PRB]);
        write(PRB, &[3, DESCRIPTORS, INFOS, FIRST + 1, FIRST, 0, 8, TEXT]);
        for (number, begin, next, text) in
            [(0, 200, 224, &b"first\x1b"[..]), (1, 250, 280, b"second")]
        {
            let id = FIRST + number;
            let index = id & 7;
            write(
                DESCRIPTORS + index * DESCRIPTOR,
                &[2 << STATE_SHIFT | id, begin, next],
            );
            write(
                INFOS + index * INFO + 8,
                &[1_000_000 * (number + 1), text.len() as u64],
            );
            let at = if number == 0 { begin } else { 0 };
            memory.write(TEXT + at + 8, text).unwrap();
        }
        (memory, cr3, Symbols::of([("prb", KERNEL_MAP)]))
    }

    #[test]
    fn a_log_reads_back_without_what_drives_a_terminal() {
        let (memory, cr3, symbols) = guest();
        let log = read(&memory, cr3, &symbols);
        assert_eq!(log, ["[    0.001000] first?", "[    0.002000] second"]);
    }

    /// The same ring at the addresses of a kernel's image, its page tables lost, in the layout before Linux 6.0 and since.
    #[test]
    fn a_log_is_found_by_its_form() {
        for text_ring in TEXT_RING {
            let (memory, _, _) = guest();
            let at = |gpa| KERNEL_MAP + gpa;
            let mut words = vec![
                7,
                at(DESCRIPTORS),
                at(INFOS),
                FIRST + 1,
                FIRST,
                0,
                12,
                at(TEXT),
            ];
            if text_ring == 40 {
                words.remove(5);
            }
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            memory.write(PRB, &bytes).unwrap();
            // A ring of 128 records has those of this one at other indices.
            for number in 0..2 {
                let id = FIRST + number;
                let (index, at) = (id & 127, 24 * number);
                let words = [2 << STATE_SHIFT | id, at, at + 24];
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                memory
                    .write(DESCRIPTORS + index * DESCRIPTOR, &bytes)
                    .unwrap();
                memory.write(TEXT + at + 8, b"line").unwrap();
                memory.write(INFOS + index * INFO + 16, &[4, 0]).unwrap();
            }
            let log = read(&memory, 0, &Symbols::default());
            assert_eq!(log.len(), 2, "{text_ring}");
            assert!(log[1].ends_with("] line"), "{log:?}");
        }
    }

    proptest! {
        #[test]
        fn no_log_makes_the_reader_panic(
            damage in prop::collection::vec((PRB..END, any::<u8>()), 0..32), words in prop::collection::vec(any::<u64>(), 0..8),
        ) {
            let (memory, cr3, symbols) = guest();
            for (at, byte) in damage {
                memory.write(at, &[byte]).unwrap();
            }
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            memory.write(PRB + 8, &bytes).unwrap();
            prop_assert!(read(&memory, cr3, &symbols).len() <= (1 << MAX_COUNT_BITS) + 1);
        }
    }
}
