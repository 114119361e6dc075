//! The MultiProcessor table: which processors there are.
//!
//! Source: Intel MultiProcessor Specification 1.4, chapter 4. A kernel without ACPI looks for it 16 bytes at a time
//! and maps each 16 bytes anew; without a table it looks through 66 KiB, some 2.9 million instructions. So the table's
//! pointer is the first thing in memory, where the kernel looks first.

use crate::base::cast::low32;
use crate::error::Result;
use crate::layout;
use crate::memory::GuestMemory;

/// The floating pointer's and the table's own lengths in bytes.
const POINTER: usize = 16;
const HEADER: usize = 44;
const PROCESSOR: usize = 20;

/// The local APICs' address, and the version that KVM's report.
const LOCAL_APIC: u32 = 0xfee0_0000;
const LOCAL_APIC_VERSION: u8 = 0x14;

/// Processor flags: usable; the one that boots.
const ENABLED: u8 = 1;
const BOOT: u8 = 2;

/// Lengths of the other entries.
const BUS: usize = 8;
const IOAPIC: usize = 8;
const INTERRUPT: usize = 8;

/// Entry types.
const BUS_ENTRY: u8 = 1;
const IOAPIC_ENTRY: u8 = 2;
const INTERRUPT_ENTRY: u8 = 3;

/// The version of an 82093AA.
const IOAPIC_VERSION: u8 = 0x11;

/// Lines of devices: each is the pin of the I/O APIC of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupts {
    /// The first line.
    pub first: u8,
    /// One more than the last line.
    pub end: u8,
}

/// Writes the floating pointer and a table of `cpus` processors, and of an I/O APIC if there are devices.
///
/// # Errors
/// None for a guest of the smallest size.
pub fn write(memory: &GuestMemory, cpus: u8, interrupts: Option<Interrupts>) -> Result<()> {
    let table_at = layout::MP_TABLE + POINTER as u64;
    let mut pointer = [0; POINTER];
    pointer[..4].copy_from_slice(b"_MP_");
    pointer[4..8].copy_from_slice(&low32(table_at).to_le_bytes());
    // Length in units of 16 bytes, and the specification's revision, 1.4.
    (pointer[8], pointer[9]) = (1, 4);
    pointer[10] = checksum(&pointer);
    memory.write(layout::MP_TABLE, &pointer)?;

    let mut table = vec![0; HEADER];
    table[..4].copy_from_slice(b"PCMP");
    table[6] = 4;
    table[8..16].copy_from_slice(b"JIFFY   ");
    table[16..28].copy_from_slice(b"MICROVM     ");
    table[36..40].copy_from_slice(&LOCAL_APIC.to_le_bytes());
    for id in 0..cpus {
        let boot = if id == 0 { BOOT } else { 0 };
        let mut entry = [0; PROCESSOR];
        entry[1..4].copy_from_slice(&[id, LOCAL_APIC_VERSION, ENABLED | boot]);
        table.extend(entry);
    }
    let mut entries = u16::from(cpus);
    if let Some(interrupts) = interrupts {
        entries += add_interrupts(&mut table, cpus, interrupts);
    }
    table[34..36].copy_from_slice(&entries.to_le_bytes());
    // 255 processors and 16 interrupts take less than 16 KiB.
    let length = u16::try_from(table.len()).unwrap_or(u16::MAX);
    table[4..6].copy_from_slice(&length.to_le_bytes());
    table[7] = checksum(&table);
    memory.write(table_at, &table)
}

/// Adds the bus that lines belong to, the I/O APIC, and a line for each device; returns how many entries that is. The bus
/// is an ISA bus, whose lines are edge-triggered and active high, as ours are.
fn add_interrupts(table: &mut Vec<u8>, ioapic_id: u8, interrupts: Interrupts) -> u16 {
    let mut bus = [0; BUS];
    (bus[0], bus[1]) = (BUS_ENTRY, 0);
    bus[2..].copy_from_slice(b"ISA   ");
    let mut ioapic = [0; IOAPIC];
    ioapic[..4].copy_from_slice(&[IOAPIC_ENTRY, ioapic_id, IOAPIC_VERSION, ENABLED]);
    ioapic[4..].copy_from_slice(&low32(layout::IOAPIC).to_le_bytes());
    table.extend(bus);
    table.extend(ioapic);
    for line in interrupts.first..interrupts.end {
        // Vectored, with the bus's own polarity and trigger: bus 0, line; to this I/O APIC's pin.
        let entry: [u8; INTERRUPT] = [INTERRUPT_ENTRY, 0, 0, 0, 0, line, ioapic_id, line];
        table.extend(entry);
    }
    2 + u16::from(interrupts.end - interrupts.first)
}

/// The byte that makes the sum of all bytes zero.
pub(super) fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Pages;

    #[test]
    fn sums_are_zero_and_processors_are_counted() {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        write(&memory, 3, None).unwrap();
        let mut pointer = [0; POINTER];
        memory.read(layout::MP_TABLE, &mut pointer).unwrap();
        assert_eq!((&pointer[..4], checksum(&pointer)), (&b"_MP_"[..], 0));
        let mut table = [0; HEADER + 3 * PROCESSOR];
        memory
            .read(layout::MP_TABLE + POINTER as u64, &mut table)
            .unwrap();
        assert_eq!((&table[..4], checksum(&table)), (&b"PCMP"[..], 0));
        assert_eq!(usize::from(table[4]), table.len());
        assert_eq!(table[34], 3);
    }

    #[test]
    fn lines_follow_the_processors() {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        let lines = Interrupts { first: 5, end: 7 };
        write(&memory, 1, Some(lines)).unwrap();
        let mut table = [0; HEADER + PROCESSOR + BUS + IOAPIC + 2 * INTERRUPT];
        let at = layout::MP_TABLE + POINTER as u64;
        memory.read(at, &mut table).unwrap();
        assert_eq!((checksum(&table), table[34]), (0, 5));
        assert_eq!(usize::from(table[4]), table.len());
        assert_eq!(table[table.len() - INTERRUPT..], [3, 0, 0, 0, 0, 6, 1, 6]);
    }
}
