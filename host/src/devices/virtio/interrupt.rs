//! A device's interrupt: its status register and its line.

use crate::devices::irqchip::Controller;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING};

/// The interrupt of one device.
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

    /// There are new buffers in a used ring.
    pub(crate) fn used_buffers(&self) {
        self.set(VIRTIO_MMIO_INT_VRING);
    }

    /// The configuration space changed, or the device needs a reset.
    pub(crate) fn config_changed(&self) {
        self.set(VIRTIO_MMIO_INT_CONFIG);
    }

    fn set(&self, bit: u32) {
        // A bit that is still set has an interrupt on its way whose handler will find what is new: it acknowledges
        // before it looks.
        if self.status.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.controller.pulse(self.irq);
        }
    }

    /// The status register.
    pub(super) fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    /// The driver has handled these bits.
    pub(super) fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, Ordering::AcqRel);
    }
}
