//! The MultiProcessor table: which processors there are.
//!
//! Source: Intel MultiProcessor Specification 1.4, chapter 4. A kernel without ACPI looks for it 16 bytes at a time
//! and maps each 16 bytes anew; without a table it looks through 66 KiB, some 2.9 million instructions. So the table's
//! pointer is the first thing in memory, where the kernel looks first.

use super::bindings::mpspec::{
    CPU_BOOTPROCESSOR, CPU_ENABLED, MP_BUS, MP_INTSRC, MP_IOAPIC, MP_PROCESSOR, MPC_APIC_USABLE,
    MPC_SIGNATURE, mpc_bus, mpc_cpu, mpc_intsrc, mpc_ioapic, mpc_table, mpf_intel,
};
use crate::base::cast::{low8, low32};
use crate::error::Result;
use crate::layout;
use crate::memory::GuestMemory;
use std::mem::{offset_of, size_of};

/// Sizes in bytes of the floating pointer, of the table's header and of its entries.
const POINTER: usize = size_of::<mpf_intel>();
const HEADER: usize = size_of::<mpc_table>();
const PROCESSOR: usize = size_of::<mpc_cpu>();
const BUS: usize = size_of::<mpc_bus>();
const IOAPIC: usize = size_of::<mpc_ioapic>();
const INTERRUPT: usize = size_of::<mpc_intsrc>();

/// The specification's revision, 1.4.
const REVISION: u8 = 4;

/// The local APICs' address, and the version that KVM's report.
const LOCAL_APIC: u32 = 0xfee0_0000;
const LOCAL_APIC_VERSION: u8 = 0x14;

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
    set(&mut pointer, offset_of!(mpf_intel, signature), b"_MP_");
    let address = low32(table_at).to_le_bytes();
    set(&mut pointer, offset_of!(mpf_intel, physptr), &address);
    // In units of 16 bytes.
    pointer[offset_of!(mpf_intel, length)] = 1;
    pointer[offset_of!(mpf_intel, specification)] = REVISION;
    pointer[offset_of!(mpf_intel, checksum)] = checksum(&pointer);
    memory.write(layout::MP_TABLE, &pointer)?;

    let mut table = vec![0; HEADER];
    set(
        &mut table,
        offset_of!(mpc_table, signature),
        &MPC_SIGNATURE[..4],
    );
    table[offset_of!(mpc_table, spec)] = REVISION;
    set(&mut table, offset_of!(mpc_table, oem), b"JIFFY   ");
    set(
        &mut table,
        offset_of!(mpc_table, productid),
        b"MICROVM     ",
    );
    set(
        &mut table,
        offset_of!(mpc_table, lapic),
        &LOCAL_APIC.to_le_bytes(),
    );
    for id in 0..cpus {
        let boot = if id == 0 { CPU_BOOTPROCESSOR } else { 0 };
        let mut entry = [0; PROCESSOR];
        entry[offset_of!(mpc_cpu, type_)] = low8(MP_PROCESSOR);
        entry[offset_of!(mpc_cpu, apicid)] = id;
        entry[offset_of!(mpc_cpu, apicver)] = LOCAL_APIC_VERSION;
        entry[offset_of!(mpc_cpu, cpuflag)] = low8(CPU_ENABLED | boot);
        table.extend(entry);
    }
    let mut entries = u16::from(cpus);
    if let Some(interrupts) = interrupts {
        entries += add_interrupts(&mut table, cpus, interrupts);
    }
    set(
        &mut table,
        offset_of!(mpc_table, oemcount),
        &entries.to_le_bytes(),
    );
    // 255 processors and 16 interrupts take less than 16 KiB.
    let length = u16::try_from(table.len()).unwrap_or(u16::MAX);
    set(
        &mut table,
        offset_of!(mpc_table, length),
        &length.to_le_bytes(),
    );
    table[offset_of!(mpc_table, checksum)] = checksum(&table);
    memory.write(table_at, &table)
}

/// Sets a field.
fn set(structure: &mut [u8], offset: usize, value: &[u8]) {
    structure[offset..offset + value.len()].copy_from_slice(value);
}

/// Adds the bus that lines belong to, the I/O APIC, and a line for each device; returns how many entries that is. The bus
/// is an ISA bus, whose lines are edge-triggered and active high, as ours are.
fn add_interrupts(table: &mut Vec<u8>, ioapic_id: u8, interrupts: Interrupts) -> u16 {
    let mut bus = [0; BUS];
    bus[offset_of!(mpc_bus, type_)] = low8(MP_BUS);
    set(&mut bus, offset_of!(mpc_bus, bustype), b"ISA   ");
    let mut ioapic = [0; IOAPIC];
    ioapic[offset_of!(mpc_ioapic, type_)] = low8(MP_IOAPIC);
    ioapic[offset_of!(mpc_ioapic, apicid)] = ioapic_id;
    ioapic[offset_of!(mpc_ioapic, apicver)] = IOAPIC_VERSION;
    ioapic[offset_of!(mpc_ioapic, flags)] = low8(MPC_APIC_USABLE);
    let address = low32(layout::IOAPIC).to_le_bytes();
    set(&mut ioapic, offset_of!(mpc_ioapic, apicaddr), &address);
    table.extend(bus);
    table.extend(ioapic);
    for line in interrupts.first..interrupts.end {
        // Vectored, with the bus's own polarity and trigger, from bus 0: these are zero.
        let mut entry = [0; INTERRUPT];
        entry[offset_of!(mpc_intsrc, type_)] = low8(MP_INTSRC);
        entry[offset_of!(mpc_intsrc, srcbusirq)] = line;
        entry[offset_of!(mpc_intsrc, dstapic)] = ioapic_id;
        entry[offset_of!(mpc_intsrc, dstirq)] = line;
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
