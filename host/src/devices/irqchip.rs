//! The guest's interrupt hardware, and how a device's line reaches a local APIC.

use super::ioapic::Ioapic;
use crate::base::lock::lock;
use crate::error::ValueError;
use kvm_bindings::kvm_msi;
use kvm_ioctls::VmFd;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

/// Which interrupt hardware the guest gets: `local` or `pc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Irqchip {
    /// The local APIC alone, which is all that our kernels use.
    #[default]
    Local,
    /// A PC's PIC, I/O APIC and PIT as well, for kernels that calibrate by the PIT.
    Pc,
}

impl Irqchip {
    /// The name as an option's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Irqchip::Local => "local",
            Irqchip::Pc => "pc",
        }
    }
}

impl FromStr for Irqchip {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        [Irqchip::Local, Irqchip::Pc]
            .into_iter()
            .find(|irqchip| irqchip.name() == text)
            .ok_or_else(|| ValueError::new(text, "local or pc"))
    }
}

impl fmt::Display for Irqchip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What carries interrupts of devices to the vCPUs. All lines are edge-triggered.
#[derive(Debug)]
pub struct Controller {
    /// `None` where nobody listens: in tests.
    vm: Option<Arc<VmFd>>,
    /// Ours, where the machine has a local APIC alone; KVM's otherwise.
    ioapic: Option<Mutex<Ioapic>>,
}

impl Controller {
    /// The controller of a machine; `pins` is the number of pins of an I/O APIC of ours.
    #[must_use]
    pub fn new(vm: Option<Arc<VmFd>>, pins: Option<u32>) -> Self {
        Controller {
            vm,
            ioapic: pins.map(|pins| Mutex::new(Ioapic::new(pins))),
        }
    }

    /// Raises and lowers a line.
    pub(crate) fn pulse(&self, irq: u32) {
        match (&self.ioapic, &self.vm) {
            (Some(ioapic), _) => {
                let message = lock(ioapic).raise(irq);
                self.send(message);
            }
            // KVM accepts both for every line that exists. A guest that routed its line nowhere is not interrupted.
            (None, Some(vm)) => {
                let _ = vm.set_irq_line(irq, true);
                let _ = vm.set_irq_line(irq, false);
            }
            (None, None) => {}
        }
    }

    fn send(&self, message: Option<kvm_msi>) {
        if let (Some(message), Some(vm)) = (message, &self.vm) {
            let _ = vm.signal_msi(message);
        }
    }

    /// Reads a register of our I/O APIC; all ones without one.
    pub(crate) fn read(&self, offset: u64) -> u32 {
        let ioapic = self.ioapic.as_ref();
        ioapic.map_or(u32::MAX, |ioapic| lock(ioapic).read(offset))
    }

    /// Writes a register of our I/O APIC.
    pub(crate) fn write(&self, offset: u64, value: u32) {
        if let Some(ioapic) = &self.ioapic {
            let message = lock(ioapic).write(offset, value);
            self.send(message);
        }
    }
}
