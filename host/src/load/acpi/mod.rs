//! ACPI tables: how a kernel that we did not build learns of its processors, its devices, and of how to end the machine.
//!
//! Our kernels have no ACPI, and get no tables: see [`Acpi`]. The hardware is "reduced": no PIC, PIT, power management timer
//! or fixed events, only registers to reset the machine and to switch it off.
//! Source: ACPI Specification 6.5, chapters 4.1 (hardware-reduced), 4.8.3.6 to 4.8.3.7 (reset, sleep) and 5.2 (tables).

mod aml;

use super::mptable::{Interrupts, checksum};
use crate::base::cast::{low32, to_u32};
use crate::error::{Result, ValueError};
use crate::layout;
use crate::machine::ports;
use crate::memory::GuestMemory;
use std::fmt;
use std::str::FromStr;

/// Who gets ACPI tables: `auto`, `on` or `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acpi {
    /// Kernels that we did not build, if they can read them.
    #[default]
    Auto,
    /// Every kernel.
    On,
    /// No kernel.
    Off,
}

impl Acpi {
    /// The name as an option's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Acpi::Auto => "auto",
            Acpi::On => "on",
            Acpi::Off => "off",
        }
    }
}

impl FromStr for Acpi {
    type Err = ValueError;

    fn from_str(text: &str) -> std::result::Result<Self, ValueError> {
        [Acpi::Auto, Acpi::On, Acpi::Off]
            .into_iter()
            .find(|acpi| acpi.name() == text)
            .ok_or_else(|| ValueError::new(text, "auto, on or off"))
    }
}

impl fmt::Display for Acpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The header of every table but the RSDP.
const HEADER: usize = 36;

/// The FADT of ACPI 6.5, and where its fields are.
const FADT: usize = 276;
const FADT_BOOT_ARCHITECTURE: usize = 109;
const FADT_FLAGS: usize = 112;
const FADT_RESET: usize = 116;
const FADT_RESET_VALUE: usize = 128;
const FADT_MINOR_VERSION: usize = 131;
const FADT_DSDT: usize = 140;
const FADT_SLEEP_CONTROL: usize = 244;
const FADT_SLEEP_STATUS: usize = 256;
const FADT_HYPERVISOR: usize = 268;

/// There is neither VGA nor a clock in CMOS memory; nor a keyboard controller, whose bit is clear.
const BOOT_ARCHITECTURE: u16 = 1 << 2 | 1 << 5;

/// WBINVD works, no fixed power button, no fixed sleep button, a reset register, hardware-reduced.
const FLAGS: u32 = 1 | 1 << 4 | 1 << 5 | 1 << 10 | 1 << 20;

/// The address space of I/O ports, and an access of a byte, in an address structure.
const SYSTEM_IO: u8 = 1;
const BYTE_ACCESS: u8 = 1;

/// Where the MADT says that local APICs are.
const LOCAL_APIC: u32 = 0xfee0_0000;

/// Tables lie at multiples of this.
const ALIGNMENT: u64 = 64;

/// What the tables tell of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// How many processors there are.
    pub cpus: u8,
    /// Whether there is an I/O APIC.
    pub ioapic: bool,
    /// The lines of the virtio devices, if there are any.
    pub interrupts: Option<Interrupts>,
}

/// Writes the tables, and tells the kernel where they begin.
///
/// # Errors
/// None for a guest of the smallest size.
pub fn write(memory: &GuestMemory, machine: &Machine) -> Result<()> {
    let mut next = layout::ACPI + ALIGNMENT;
    let mut place = |table: Vec<u8>| -> Result<u64> {
        let at = next;
        next += (table.len() as u64).next_multiple_of(ALIGNMENT);
        memory.write(at, &table)?;
        Ok(at)
    };
    let dsdt = place(table(b"DSDT", 2, &aml::definitions(machine.interrupts)))?;
    let fadt = place(fadt(dsdt))?;
    let madt = place(madt(machine))?;
    let pointers = [fadt, madt].map(u64::to_le_bytes).concat();
    let xsdt = place(table(b"XSDT", 1, &pointers))?;
    memory.write(layout::ACPI, &rsdp(xsdt))
}

/// The structure that points to the tables; old kernels find it by its signature.
fn rsdp(xsdt: u64) -> [u8; HEADER] {
    let mut rsdp = [0; HEADER];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(b"JIFFY ");
    // The revision that has an XSDT, and the length.
    (rsdp[15], rsdp[20]) = (2, 36);
    rsdp[24..32].copy_from_slice(&xsdt.to_le_bytes());
    // The first sum is that of ACPI 1.0's part.
    rsdp[8] = checksum(&rsdp[..20]);
    rsdp[32] = checksum(&rsdp);
    rsdp
}

/// A table with its header in front.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = vec![0; HEADER];
    table[..4].copy_from_slice(signature);
    table[4..8].copy_from_slice(&to_u32(HEADER + body.len()).to_le_bytes());
    table[8] = revision;
    table[10..24].copy_from_slice(b"JIFFY MICROVM ");
    table[24] = 1;
    table[28..32].copy_from_slice(b"JFFY");
    table[32] = 1;
    table.extend_from_slice(body);
    table[9] = checksum(&table);
    table
}

fn fadt(dsdt: u64) -> Vec<u8> {
    let mut body = [0; FADT - HEADER];
    let mut field = |at: usize, bytes: &[u8]| {
        body[at - HEADER..][..bytes.len()].copy_from_slice(bytes);
    };
    field(FADT_BOOT_ARCHITECTURE, &BOOT_ARCHITECTURE.to_le_bytes());
    field(FADT_FLAGS, &FLAGS.to_le_bytes());
    field(FADT_RESET, &register(ports::RESET_CONTROL));
    field(FADT_RESET_VALUE, &[ports::RESET]);
    field(FADT_MINOR_VERSION, &[5]);
    field(FADT_DSDT, &dsdt.to_le_bytes());
    field(FADT_SLEEP_CONTROL, &register(ports::SLEEP_CONTROL));
    field(FADT_SLEEP_STATUS, &register(ports::SLEEP_STATUS));
    field(FADT_HYPERVISOR, b"JIFFY   ");
    table(b"FACP", 6, &body)
}

/// The address of a register of a byte: an I/O port.
fn register(port: u16) -> [u8; 12] {
    let mut address = [0; 12];
    address[..4].copy_from_slice(&[SYSTEM_IO, 8, 0, BYTE_ACCESS]);
    address[4..6].copy_from_slice(&port.to_le_bytes());
    address
}

fn madt(machine: &Machine) -> Vec<u8> {
    // No flags: there is no PIC.
    let mut body = [LOCAL_APIC, 0].map(u32::to_le_bytes).concat();
    for id in 0..machine.cpus {
        // A local APIC: its length, the processor's and its own number, enabled.
        body.extend([0, 8, id, id, 1, 0, 0, 0]);
    }
    if machine.ioapic {
        body.extend([1, 12, machine.cpus, 0]);
        body.extend(low32(layout::IOAPIC).to_le_bytes());
        // Its first line is the machine's first.
        body.extend(0_u32.to_le_bytes());
    }
    table(b"APIC", 5, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Pages;

    /// The table at an address, whose sum is checked.
    fn read(memory: &GuestMemory, at: u64) -> Vec<u8> {
        let mut header = [0; 8];
        memory.read(at, &mut header).unwrap();
        let len = u32::from_le_bytes(*header.last_chunk().unwrap());
        let mut bytes = vec![0; len as usize];
        memory.read(at, &mut bytes).unwrap();
        assert_eq!(checksum(&bytes), 0);
        bytes
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        crate::base::bytes::u64_at(bytes, at).unwrap()
    }

    #[test]
    fn every_table_is_found_and_its_sum_is_zero() {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        let machine = Machine {
            cpus: 2,
            ioapic: true,
            interrupts: Some(Interrupts { first: 5, end: 24 }),
        };
        write(&memory, &machine).unwrap();
        let mut rsdp = [0; HEADER];
        memory.read(layout::ACPI, &mut rsdp).unwrap();
        assert_eq!((checksum(&rsdp[..20]), checksum(&rsdp)), (0, 0));
        let xsdt = read(&memory, word(&rsdp, 24));
        let fadt = read(&memory, word(&xsdt, HEADER));
        assert_eq!((&fadt[..4], fadt.len()), (&b"FACP"[..], FADT));
        assert_eq!(fadt[FADT_RESET..][..6], [1, 8, 0, 1, 0xf9, 0x0c]);
        let madt = read(&memory, word(&xsdt, HEADER + 8));
        assert_eq!(madt.len(), HEADER + 8 + 2 * 8 + 12);
        let dsdt = read(&memory, word(&fadt, FADT_DSDT));
        assert_eq!(
            dsdt.windows(8).filter(|name| name == b"LNRO0005").count(),
            19
        );
        // They lie below the memory that the guest is told of.
        assert!(word(&rsdp, 24) + xsdt.len() as u64 <= layout::HIGH_MEMORY);
    }
}
