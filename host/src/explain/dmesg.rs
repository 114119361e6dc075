//! The kernel log, recovered from guest memory without a console.
//!
//! Source of the layout: kernel/printk/printk_ringbuffer.h of Linux 5.10 to 6.12. Everything read here is the
//! guest's to forge: all walks are bounded and all arithmetic is checked or masked.

use super::symbols::Symbols;
use crate::base::bytes::{u32_at, u64_at};
use crate::memory::{GuestMemory, paging};

/// Larger rings are taken for damage: 2^20 records, 2^26 bytes of text.
const MAX_COUNT_BITS: u32 = 20;
const MAX_SIZE_BITS: u32 = 26;

/// `struct prb_desc`, `struct printk_info`: sizes in bytes.
const DESCRIPTOR: u64 = 24;
const INFO: u64 = 88;

/// The two top bits of a descriptor's state: 1 committed, 2 finalized.
const STATE_SHIFT: u32 = 62;

struct Ring<'a> {
    memory: &'a GuestMemory,
    cr3: u64,
    count_bits: u32,
    descriptors: u64,
    infos: u64,
    head: u64,
    tail: u64,
    size_bits: u32,
    text: u64,
}

/// The log's lines, oldest first, each with its time; empty without symbols or without a log.
#[must_use]
pub fn read(memory: &GuestMemory, cr3: u64, symbols: &Symbols) -> Vec<String> {
    let Some(ring) = Ring::open(memory, symbols.page_tables(cr3), symbols) else {
        return Vec::new();
    };
    let ids = ring.head.wrapping_sub(ring.tail).min(1 << ring.count_bits);
    // Records do not overlap, so all lines together are little longer than the ring: each has its time in front, and
    // three bytes for each byte that is no text.
    let mut limit = 4_usize << ring.size_bits;
    (0..=ids)
        .filter_map(|step| ring.record(ring.tail.wrapping_add(step)))
        .map_while(|line| {
            limit = limit.checked_sub(line.len())?;
            Some(line)
        })
        .collect()
}

impl<'a> Ring<'a> {
    fn open(memory: &'a GuestMemory, cr3: u64, symbols: &Symbols) -> Option<Self> {
        let prb = u64::from_le_bytes(symbols.read(memory, "prb")?);
        let mut bytes = [0; 80];
        paging::read(memory, cr3, prb, &mut bytes).ok()?;
        let word = |at| u64_at(&bytes, at);
        let ring = Ring {
            memory,
            cr3,
            count_bits: u32_at(&bytes, 0)?,
            descriptors: word(8)?,
            infos: word(16)?,
            head: word(24)?,
            tail: word(32)?,
            size_bits: u32_at(&bytes, 48)?,
            text: word(56)?,
        };
        (ring.count_bits <= MAX_COUNT_BITS && ring.size_bits <= MAX_SIZE_BITS).then_some(ring)
    }

    fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        paging::read(self.memory, self.cr3, address, &mut bytes).ok()?;
        Some(bytes)
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.read(address).map(u64::from_le_bytes)
    }

    fn record(&self, id: u64) -> Option<String> {
        let index = id & ((1 << self.count_bits) - 1);
        let descriptor = self.descriptors.wrapping_add(index * DESCRIPTOR);
        let state = self.word(descriptor)?;
        let same_id = (state ^ id) << (64 - STATE_SHIFT) == 0;
        if !same_id || !matches!(state >> STATE_SHIFT, 1 | 2) {
            return None;
        }
        let (begin, next) = (
            self.word(descriptor.wrapping_add(8))?,
            self.word(descriptor.wrapping_add(16))?,
        );
        let info = self.infos.wrapping_add(index * INFO);
        let nanoseconds = self.word(info.wrapping_add(8))?;
        let text_len = u16::from_le_bytes(self.read(info.wrapping_add(16))?);
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
        paging::read(
            self.memory,
            self.cr3,
            self.text.wrapping_add(offset),
            &mut text,
        )
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
    use crate::memory::Pages;
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
