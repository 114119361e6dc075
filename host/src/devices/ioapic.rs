//! An I/O APIC for edge-triggered lines: without one, the kernel gives a device's line no vector.
//!
//! KVM leaves it to user space when only the local APIC is KVM's. It holds an entry for each line, and a line that is raised
//! becomes the message that its entry describes. No end of interrupt comes back, since no line is level-triggered.
//! Source: Intel 82093AA I/O Advanced Programmable Interrupt Controller, chapter 3.

use crate::base::cast::{low32, to_u32};
use kvm_bindings::kvm_msi;

/// Offsets of the two registers that the others are reached through.
const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;

/// Registers by number: identity, version, and the first half of the first entry.
const ID: u32 = 0;
const VERSION: u32 = 1;
const ENTRIES: u32 = 0x10;

/// The version of a chip without an end-of-interrupt register.
const VERSION_82093AA: u32 = 0x11;

/// Bits of an entry: delivery mode, destination mode, mask; status and remote IRR are not the guest's to write.
const VECTOR_AND_MODE: u64 = 0x7ff;
const DESTINATION_MODE: u64 = 1 << 11;
const MASKED: u64 = 1 << 16;
const READ_ONLY: u64 = 1 << 12 | 1 << 14;

/// Where messages to local APICs are written.
const MESSAGE_ADDRESS: u32 = 0xfee0_0000;

/// A line.
#[derive(Clone, Copy, Debug)]
struct Pin {
    entry: u64,
    /// Raised while it was masked.
    pending: bool,
}

/// The chip.
#[derive(Debug)]
pub(super) struct Ioapic {
    selected: u32,
    id: u32,
    pins: Vec<Pin>,
}

impl Ioapic {
    /// One with this number of lines, all masked.
    #[must_use]
    pub(super) fn new(pins: u32) -> Self {
        let pin = Pin {
            entry: MASKED,
            pending: false,
        };
        Ioapic {
            selected: 0,
            id: 0,
            pins: vec![pin; pins as usize],
        }
    }

    /// Raises a line; returns the message to send, if the line is not masked.
    pub(super) fn raise(&mut self, pin: u32) -> Option<kvm_msi> {
        self.pins.get_mut(pin as usize)?.pending = true;
        self.deliver(pin as usize)
    }

    /// A read at an offset of its page.
    #[must_use]
    pub(super) fn read(&self, offset: u64) -> u32 {
        match offset {
            SELECT => self.selected,
            WINDOW => match self.selected {
                ID => self.id,
                VERSION => VERSION_82093AA | to_u32(self.pins.len()).saturating_sub(1) << 16,
                number => self
                    .entry(number)
                    .map_or(0, |(pin, shift)| low32(self.pins[pin].entry >> shift)),
            },
            _ => 0,
        }
    }

    /// A write at an offset of its page; returns the message of a line that it unmasks.
    pub(super) fn write(&mut self, offset: u64, value: u32) -> Option<kvm_msi> {
        match (offset, self.selected) {
            (SELECT, _) => self.selected = value & 0xff,
            (WINDOW, ID) => self.id = value & 0x0f00_0000,
            (WINDOW, number) => {
                let (pin, shift) = self.entry(number)?;
                let entry = &mut self.pins[pin].entry;
                let half = 0xffff_ffff << shift;
                *entry = (*entry & !half | u64::from(value) << shift) & !READ_ONLY;
                return self.deliver(pin);
            }
            _ => {}
        }
        None
    }

    /// The pin and the shift of the half of its entry that a register's number means.
    fn entry(&self, number: u32) -> Option<(usize, u32)> {
        let half = number.checked_sub(ENTRIES)?;
        let pin = (half / 2) as usize;
        (pin < self.pins.len()).then_some((pin, half % 2 * 32))
    }

    fn deliver(&mut self, pin: usize) -> Option<kvm_msi> {
        let Pin { entry, pending } = &mut self.pins[pin];
        if *entry & MASKED != 0 || !*pending {
            return None;
        }
        *pending = false;
        let mode = u32::from(*entry & DESTINATION_MODE != 0) << 2;
        Some(kvm_msi {
            address_lo: MESSAGE_ADDRESS | (low32(*entry >> 56) * (1 << 12)) | mode,
            data: low32(*entry & VECTOR_AND_MODE),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ioapic: &mut Ioapic, register: u32, value: u32) -> Option<kvm_msi> {
        ioapic.write(SELECT, register);
        ioapic.write(WINDOW, value)
    }

    #[test]
    fn an_entry_is_the_message_of_its_line() {
        let mut ioapic = Ioapic::new(6);
        assert!(ioapic.raise(5).is_none(), "masked");
        assert!(set(&mut ioapic, 0x1b, 3 << 24).is_none());
        let sent = set(&mut ioapic, 0x1a, 0x0823).expect("it was raised while masked");
        assert_eq!((sent.address_lo, sent.data), (0xfee0_3004, 0x23));
        assert!(set(&mut ioapic, 0x1a, 0x0823).is_none(), "once");
        assert!(ioapic.raise(5).is_some());
        assert!(ioapic.raise(6).is_none(), "there is no such line");
    }

    #[test]
    fn it_tells_how_many_lines_it_has() {
        let mut ioapic = Ioapic::new(6);
        ioapic.write(SELECT, VERSION);
        assert_eq!(ioapic.read(WINDOW), 0x0005_0011);
    }

    proptest! {
        #[test]
        fn any_access_is_served(accesses: Vec<(u64, u32, u32)>, pins in 0_u32..30) {
            let mut ioapic = Ioapic::new(pins);
            for (offset, value, pin) in accesses {
                let _ = ioapic.read(offset % 0x20);
                let _ = ioapic.write(offset % 0x20, value);
                let _ = ioapic.raise(pin % 32);
            }
        }
    }
}
