//! The MultiProcessor table: which processors there are.
//!
//! Source: Intel MultiProcessor Specification 1.4, chapter 4. A kernel without ACPI looks for it 16 bytes at a time
//! and maps each 16 bytes anew; without a table it looks through 66 KiB, some 2.9 million instructions. So the table's
//! pointer is the first thing in memory, where the kernel looks first.

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

/// Writes the floating pointer and a table of `cpus` processors.
///
/// # Errors
/// None for a guest of the least size.
pub fn write(memory: &GuestMemory, cpus: u8) -> Result<()> {
    let table_at = layout::MP_TABLE + POINTER as u64;
    let mut pointer = [0; POINTER];
    pointer[..4].copy_from_slice(b"_MP_");
    pointer[4..8].copy_from_slice(&(table_at as u32).to_le_bytes());
    // Length in units of 16 bytes, and the specification's revision, 1.4.
    (pointer[8], pointer[9]) = (1, 4);
    pointer[10] = checksum(&pointer);
    memory.write(layout::MP_TABLE, &pointer)?;

    let mut table = vec![0; HEADER];
    table[..4].copy_from_slice(b"PCMP");
    table[6] = 4;
    table[8..16].copy_from_slice(b"JIFFY   ");
    table[16..28].copy_from_slice(b"MICROVM     ");
    table[34..36].copy_from_slice(&u16::from(cpus).to_le_bytes());
    table[36..40].copy_from_slice(&LOCAL_APIC.to_le_bytes());
    for id in 0..cpus {
        let boot = if id == 0 { BOOT } else { 0 };
        let mut entry = [0; PROCESSOR];
        entry[1..4].copy_from_slice(&[id, LOCAL_APIC_VERSION, ENABLED | boot]);
        table.extend(entry);
    }
    let length = table.len() as u16;
    table[4..6].copy_from_slice(&length.to_le_bytes());
    table[7] = checksum(&table);
    memory.write(table_at, &table)
}

/// The byte that makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
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
        write(&memory, 3).unwrap();
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
}
