//! How a device calls its driver.

use super::ioapic::Ioapic;
use kvm_ioctls::VmFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of the interrupt status register (virtio 1.2, 4.2.2): a queue has used buffers; the configuration changed.
const USED: u32 = 1;
const CONFIG: u32 = 2;

/// What carries interrupts to the processor. All are edges: a device says that something happened, once.
#[derive(Debug)]
pub struct Controller {
    /// None where nobody listens: in tests.
    vm: Option<Arc<VmFd>>,
    /// Ours, where the machine has a local APIC alone; KVM's otherwise.
    ioapic: Option<Mutex<Ioapic>>,
}

impl Controller {
    /// Of a machine; `pins` are those of an I/O APIC of ours.
    #[must_use]
    pub fn new(vm: Option<Arc<VmFd>>, pins: Option<u32>) -> Self {
        Controller {
            vm,
            ioapic: pins.map(|pins| Mutex::new(Ioapic::new(pins))),
        }
    }

    /// Raises and lowers a line.
    fn pulse(&self, irq: u32) {
        // KVM refuses neither for a line that exists; a guest that has pointed its line nowhere hears nothing.
        match (&self.ioapic, &self.vm) {
            (Some(ioapic), _) => {
                let message = lock(ioapic).raise(irq);
                self.send(message);
            }
            (None, Some(vm)) => {
                let _ = vm.set_irq_line(irq, true);
                let _ = vm.set_irq_line(irq, false);
            }
            (None, None) => {}
        }
    }

    fn send(&self, message: Option<kvm_bindings::kvm_msi>) {
        if let (Some(message), Some(vm)) = (message, &self.vm) {
            let _ = vm.signal_msi(message);
        }
    }

    /// A read of our I/O APIC, if there is one.
    pub fn read(&self, offset: u64) -> u32 {
        self.ioapic
            .as_ref()
            .map_or(u32::MAX, |ioapic| lock(ioapic).read(offset))
    }

    /// A write to it.
    pub fn write(&self, offset: u64, value: u32) {
        if let Some(ioapic) = &self.ioapic {
            let message = lock(ioapic).write(offset, value);
            self.send(message);
        }
    }
}

fn lock(ioapic: &Mutex<Ioapic>) -> std::sync::MutexGuard<'_, Ioapic> {
    // Its state is whole after every operation, whoever panicked.
    ioapic.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device's interrupt: its status register and its line.
#[derive(Clone, Debug)]
pub struct Interrupt {
    status: Arc<AtomicU32>,
    controller: Arc<Controller>,
    irq: u32,
}

impl Interrupt {
    /// On this line.
    #[must_use]
    pub fn new(controller: &Arc<Controller>, irq: u32) -> Self {
        Interrupt {
            status: Arc::default(),
            controller: Arc::clone(controller),
            irq,
        }
    }

    /// There are used buffers.
    pub fn used(&self) {
        self.set(USED);
    }

    /// The configuration changed, or the device needs a reset.
    pub fn config(&self) {
        self.set(CONFIG);
    }

    fn set(&self, bit: u32) {
        // A bit that is still set has an interrupt on its way whose handler will find what is new: it acknowledges
        // before it looks.
        if self.status.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.controller.pulse(self.irq);
        }
    }

    /// The status register.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    /// The driver has seen these bits.
    pub fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, Ordering::AcqRel);
    }
}
