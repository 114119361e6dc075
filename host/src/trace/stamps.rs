//! The kernel's own trace, read out of guest memory: the buffer at the symbol `boot_trace_buffer`.
//!
//! Layout: [`jiffy_abi::trace`]. The guest may have written anything there.

use super::raw::{Stamp, StampKind};
use crate::base::bytes::{u32_at, u64_at};
use crate::base::cast::to_u32;
use crate::explain::symbols::Symbols;
use crate::layout::KERNEL_MAP;
use crate::memory::GuestMemory;
use jiffy_abi::trace as abi;
use std::mem::{offset_of, size_of};

/// More records than any boot makes; a bound on what is read.
const MAX_RECORDS: u32 = 1 << 16;

/// The longest name of a step.
const MAX_NAME: usize = 64;

/// A time stamp counter's reading, and when that was in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tick {
    /// The guest's time stamp counter.
    pub tsc: u64,
    /// Microseconds since the first `KVM_RUN`.
    pub us: f64,
}

/// From the guest's time stamp counter to microseconds, by two readings of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The first reading.
    pub first: Tick,
    /// The last one.
    pub last: Tick,
}

impl Scale {
    /// When the counter read this.
    #[must_use]
    pub fn us(&self, tsc: u64) -> f64 {
        let ticks = self.last.tsc.wrapping_sub(self.first.tsc).max(1) as f64;
        let per_tick = (self.last.us - self.first.us) / ticks;
        self.first.us + tsc.wrapping_sub(self.first.tsc).cast_signed() as f64 * per_tick
    }
}

/// The stamps, in the order of the buffer, and how many did not fit into it; none for a kernel without them.
#[must_use]
pub fn read(memory: &GuestMemory, symbols: &Symbols, scale: Scale) -> (Vec<Stamp>, u32) {
    try_read(memory, symbols, scale).unwrap_or_default()
}

fn try_read(memory: &GuestMemory, symbols: &Symbols, scale: Scale) -> Option<(Vec<Stamp>, u32)> {
    let buffer = symbols
        .address("boot_trace_buffer")?
        .checked_sub(KERNEL_MAP)?;
    let mut header = [0; size_of::<abi::boot_trace_header>()];
    memory.read(buffer, &mut header).ok()?;
    let word = |at: usize| u32_at(&header, at);
    let version = word(offset_of!(abi::boot_trace_header, version))?;
    let size = size_of::<abi::boot_trace_record>();
    let known = word(0)? == abi::BOOT_TRACE_MAGIC
        && version == abi::BOOT_TRACE_VERSION | to_u32(size) << 16;
    if !known {
        return None;
    }
    let capacity = word(offset_of!(abi::boot_trace_header, capacity))?.min(MAX_RECORDS);
    let asked = word(offset_of!(abi::boot_trace_header, count))?;
    let mut records = vec![0; size * asked.min(capacity) as usize];
    memory
        .read(buffer + header.len() as u64, &mut records)
        .ok()?;
    let stamps = records
        .chunks_exact(size)
        .filter_map(|record| stamp(memory, record, scale))
        .collect();
    Some((stamps, asked.saturating_sub(capacity)))
}

fn stamp(memory: &GuestMemory, record: &[u8], scale: Scale) -> Option<Stamp> {
    let tsc = u64_at(record, offset_of!(abi::boot_trace_record, tsc))?;
    let label = u64_at(record, offset_of!(abi::boot_trace_record, label))?;
    let kind = match u32_at(record, offset_of!(abi::boot_trace_record, kind))? {
        abi::BOOT_TRACE_MARK => StampKind::Mark,
        abi::BOOT_TRACE_CALL => StampKind::Call,
        abi::BOOT_TRACE_RETURN => StampKind::Return,
        _ => return None,
    };
    // Zero while the record is written: the guest was stopped right there.
    if tsc == 0 {
        return None;
    }
    let mark = kind == StampKind::Mark;
    Some(Stamp {
        us: scale.us(tsc),
        kind,
        name: if mark {
            name(memory, label)?
        } else {
            String::new()
        },
        address: if mark { 0 } else { label },
        value: u32_at(record, offset_of!(abi::boot_trace_record, value))?.cast_signed(),
    })
}

/// A C string of the kernel's image, without what could drive a terminal.
fn name(memory: &GuestMemory, label: u64) -> Option<String> {
    let gpa = label.checked_sub(KERNEL_MAP)?;
    let mut bytes = [0; MAX_NAME];
    memory.read(gpa, &mut bytes).ok()?;
    let text = bytes.split(|&byte| byte == 0).next()?;
    let plain = |&byte: &u8| {
        if byte.is_ascii_graphic() {
            byte as char
        } else {
            '?'
        }
    };
    Some(text.iter().map(plain).collect())
}
