//! ORC, the kernel's own unwind tables: for each range of code, an entry says where the caller's frame is.
//!
//! Source: arch/x86/include/asm/orc_types.h and arch/x86/kernel/unwind_orc.c of Linux 4.14 to 6.12. Since 6.4 there is a
//! section `.orc_header`, and the type has another form.

use super::stack::{MAX_FRAMES, Registers, Stack};
use crate::trace::image::Image;
use object::{Object, ObjectSection};

/// `struct orc_entry`.
const ENTRY: usize = 6;

/// `ORC_REG_*`.
const REG_PREV_SP: u8 = 1;
const REG_BP: u8 = 4;
const REG_SP: u8 = 5;
const REG_BP_INDIRECT: u8 = 8;
const REG_SP_INDIRECT: u8 = 9;

/// `ORC_TYPE_*`.
const TYPE_UNDEFINED: u8 = 0;
const TYPE_END: u8 = 1;
const TYPE_CALL: u8 = 2;
const TYPE_REGS: u8 = 3;
const TYPE_REGS_PARTIAL: u8 = 4;

/// Offsets in `struct pt_regs`.
const REGS_BP: u64 = 4 * 8;
const REGS_IP: u64 = 16 * 8;
const REGS_SP: u64 = 19 * 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    sp_offset: i16,
    bp_offset: i16,
    sp_reg: u8,
    bp_reg: u8,
    kind: u8,
    signal: bool,
}

/// The tables, sorted by address.
#[derive(Debug)]
pub struct Orc(Vec<(u64, Entry)>);

impl Orc {
    /// Reads a vmlinux's tables; `None` if it has none, or in an unknown layout.
    #[must_use]
    pub fn parse(file: &object::File<'_>) -> Option<Self> {
        let entry = match file.section_by_name(".orc_header") {
            Some(_) => Entry::new,
            None => Entry::before_6_4,
        };
        let ips = file.section_by_name(".orc_unwind_ip")?;
        let (start, ips) = (ips.address(), ips.data().ok()?);
        let entries = file.section_by_name(".orc_unwind")?.data().ok()?;
        let mut table: Vec<_> = ips
            .as_chunks::<4>()
            .0
            .iter()
            .zip(entries.as_chunks::<ENTRY>().0)
            .enumerate()
            .map(|(index, (offset, bytes))| {
                let at = start.wrapping_add(4 * index as u64);
                let offset = i64::from(i32::from_le_bytes(*offset));
                (at.wrapping_add_signed(offset), entry(*bytes))
            })
            .collect();
        table.sort_by_key(|(address, _)| *address);
        (!table.is_empty()).then_some(Orc(table))
    }

    /// Tables with these entries of a kernel before 6.4, which are sorted by address.
    #[cfg(test)]
    pub(crate) fn of_old(entries: &[(u64, [u8; ENTRY])]) -> Self {
        let entries = entries.iter();
        Orc(entries
            .map(|(address, bytes)| (*address, Entry::before_6_4(*bytes)))
            .collect())
    }

    /// Tables with these entries, which are sorted by address.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn of(entries: &[(u64, [u8; ENTRY])]) -> Self {
        let entries = entries.iter();
        Orc(entries
            .map(|(address, bytes)| (*address, Entry::new(*bytes)))
            .collect())
    }

    fn find(&self, address: u64) -> Option<Entry> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        Some(self.0.get(after.checked_sub(1)?)?.1)
    }

    /// The callers, innermost first, and whether the walk reached the end of the stack.
    #[must_use]
    pub fn walk(&self, image: &Image, start: Registers, stack: Stack<'_>) -> (Vec<u64>, bool) {
        let mut chain = Vec::new();
        let (mut at, mut signal) = (start, true);
        while chain.len() < MAX_FRAMES {
            // A return address may lie just past its function, so look up the call before it.
            let ip = if signal { at.ip } else { at.ip.wrapping_sub(1) };
            let Some(entry) = self.find(ip).filter(|_| image.code(ip).is_some()) else {
                return (chain, false);
            };
            if entry.kind == TYPE_END {
                return (chain, true);
            }
            let Some(next) = entry.step(image, at, stack) else {
                return (chain, false);
            };
            // The walk goes up the stack; anything else means that the stack is damaged.
            if next.sp <= at.sp || image.code(next.ip).is_none() {
                return (chain, false);
            }
            chain.push(next.ip);
            signal = entry.signal;
            at = next;
        }
        (chain, false)
    }
}

impl Entry {
    fn new(bytes: [u8; ENTRY]) -> Self {
        let [a, b, c, d, regs, kind] = bytes;
        Entry {
            sp_offset: i16::from_le_bytes([a, b]),
            bp_offset: i16::from_le_bytes([c, d]),
            sp_reg: regs & 0xf,
            bp_reg: regs >> 4,
            kind: kind & 7,
            signal: kind & 8 != 0,
        }
    }

    /// The type has two bits, from 0 for a call; the end of the stack is a bit of its own, and has no register. Linux 6.3 has
    /// put the bit of a signal's frame in front of it, where a frame with a register has none before.
    fn before_6_4(bytes: [u8; ENTRY]) -> Self {
        let flags = bytes[5];
        let mut entry = Entry::new(bytes);
        entry.kind = match (entry.sp_reg, flags & 0b1100) {
            (0, 0) => TYPE_UNDEFINED,
            (0, _) => TYPE_END,
            _ => TYPE_CALL + (flags & 3),
        };
        entry.signal = flags & 0b100 != 0 || matches!(entry.kind, TYPE_REGS | TYPE_REGS_PARTIAL);
        entry
    }

    fn step(&self, image: &Image, at: Registers, stack: Stack<'_>) -> Option<Registers> {
        let offset = i64::from(self.sp_offset);
        let sp = match self.sp_reg {
            REG_SP => at.sp.wrapping_add_signed(offset),
            REG_BP => at.bp.wrapping_add_signed(offset),
            REG_SP_INDIRECT => stack.word(at.sp)?.wrapping_add_signed(offset),
            REG_BP_INDIRECT => stack.word(at.bp.wrapping_add_signed(offset))?,
            // The other values name registers that a sample does not have.
            _ => return None,
        };
        let mut next = Registers { sp, ..at };
        match self.kind {
            TYPE_CALL => next.ip = stack.word(sp.wrapping_sub(8))?,
            TYPE_REGS => {
                next = Registers {
                    ip: stack.word(sp.wrapping_add(REGS_IP))?,
                    sp: stack.word(sp.wrapping_add(REGS_SP))?,
                    bp: stack.word(sp.wrapping_add(REGS_BP))?,
                };
            }
            TYPE_REGS_PARTIAL => {
                // Only the frame that the processor pushed, which begins with RIP.
                next.ip = stack.word(sp)?;
                next.sp = stack.word(sp.wrapping_add(24))?;
            }
            _ => return None,
        }
        next.ip = image.linked(next.ip);
        let offset = i64::from(self.bp_offset);
        match self.bp_reg {
            REG_PREV_SP => next.bp = stack.word(sp.wrapping_add_signed(offset))?,
            REG_BP => next.bp = stack.word(at.bp.wrapping_add_signed(offset))?,
            _ => {}
        }
        Some(next)
    }
}
