//! The machine's definitions in AML: its devices, and how it is switched off.
//!
//! Source: ACPI Specification 6.5, chapters 6.4 (resources), 7.4.2 (`\_S5`) and 20.2 (the byte code).

use crate::base::cast::{low32, to_u32};
use crate::layout;
use crate::load::mptable::Interrupts;
use crate::machine::ports;

/// Byte code of what is used here.
const ZERO: u8 = 0x00;
const NAME: u8 = 0x08;
const BYTE: u8 = 0x0a;
const DWORD: u8 = 0x0c;
const STRING: u8 = 0x0d;
const SCOPE: u8 = 0x10;
const BUFFER: u8 = 0x11;
const PACKAGE: u8 = 0x12;
const DEVICE: [u8; 2] = [0x5b, 0x82];

/// The name by which Linux and others know a virtio device behind memory-mapped registers.
const VIRTIO_MMIO: &[u8] = b"LNRO0005\0";

/// A range of memory at a fixed 32-bit address, nine bytes long, that can be written to.
const MEMORY: [u8; 4] = [0x86, 9, 0, 1];

/// One interrupt, six bytes long: the device consumes it; edge-triggered, active high, not shared.
const INTERRUPT: [u8; 5] = [0x89, 6, 0, 0b11, 1];

/// The end of resources, and a sum of zero, which means that there is none.
const END: [u8; 2] = [0x79, 0];

/// The body of the DSDT of a machine whose devices have these lines.
pub(super) fn definitions(interrupts: Option<Interrupts>) -> Vec<u8> {
    let values = [BYTE, ports::SLEEP_TYPE_OFF, ZERO, ZERO, ZERO];
    let package = [&[4], &values[..]].concat();
    let mut all = name(b"_S5_", &package_of(PACKAGE, &package));
    if let Some(Interrupts { first, end }) = interrupts {
        let mut devices = b"\\_SB_".to_vec();
        for (number, line) in (0..).zip(first..end) {
            devices.extend(device(number, line));
        }
        all.extend(package_of(SCOPE, &devices));
    }
    all
}

/// A virtio device. What it reads and writes in memory, the processors' caches know of.
fn device(number: u8, line: u8) -> Vec<u8> {
    let at = low32(layout::DEVICES + u64::from(number) * layout::PAGE);
    let resources = [
        &MEMORY[..],
        &at.to_le_bytes(),
        &low32(layout::PAGE).to_le_bytes(),
        &INTERRUPT,
        &u32::from(line).to_le_bytes(),
        &END,
    ]
    .concat();
    let size = [&[DWORD][..], &to_u32(resources.len()).to_le_bytes()].concat();
    let buffer = package_of(BUFFER, &[size, resources].concat());
    let body = [
        format!("V{number:03X}").into_bytes(),
        name(b"_HID", &[&[STRING], VIRTIO_MMIO].concat()),
        name(b"_UID", &[BYTE, number]),
        name(b"_CCA", &[BYTE, 1]),
        name(b"_CRS", &buffer),
    ]
    .concat();
    [&DEVICE[..1], &package_of(DEVICE[1], &body)].concat()
}

fn name(name: &[u8; 4], value: &[u8]) -> Vec<u8> {
    [&[NAME], &name[..], value].concat()
}

/// A code, the length of itself and of what follows it, and that.
fn package_of(code: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![code];
    // The length counts its own bytes.
    if body.len() < 63 {
        out.extend(to_u32(body.len() + 1).to_le_bytes().first());
    } else {
        // The first byte has how many follow it, and the lowest four bits.
        let len = to_u32(body.len() + 3);
        let [high, higher, ..] = (len >> 4).to_le_bytes();
        let [low, ..] = (len & 0xf | 2 << 6).to_le_bytes();
        out.extend([low, high, higher]);
    }
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        assert_eq!(package_of(SCOPE, &[7; 62])[..2], [SCOPE, 63]);
        let long = package_of(SCOPE, &[7; 63]);
        assert_eq!(long[..4], [SCOPE, 0x82, 0x04, 0]);
        assert_eq!(long.len(), 1 + 66);
        assert_eq!(
            package_of(SCOPE, &[0; 0x1234 - 3])[1..4],
            [0x84, 0x23, 0x01]
        );
    }

    #[test]
    fn a_device_has_its_registers_and_its_line() {
        let code = definitions(Some(Interrupts { first: 5, end: 7 }));
        assert_eq!(code[..12], *b"\x08_S5_\x12\x07\x04\x0a\x05\0\0");
        let second = code
            .windows(5)
            .position(|bytes| bytes == b"V001\x08")
            .unwrap();
        let registers = [&MEMORY[..], &[0x00, 0x20, 0x00, 0xd0, 0, 0x10, 0, 0]].concat();
        let rest = &code[second..];
        assert!(rest.windows(12).any(|bytes| bytes == registers));
        assert!(rest.ends_with(&[0x89, 6, 0, 3, 1, 6, 0, 0, 0, 0x79, 0]));
    }
}
