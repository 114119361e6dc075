//! A device's status register (virtio 1.2, 2.1), which the vCPUs and the device's thread share.

use super::interrupt::Interrupt;
use super::queue::Fault;
use crate::base::lock::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use virtio_bindings::virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET;

/// The register, and why the device needs a reset.
#[derive(Debug, Default)]
pub struct Status {
    register: AtomicU32,
    fault: Mutex<Option<String>>,
}

impl Status {
    /// The register.
    pub(super) fn get(&self) -> u32 {
        self.register.load(Ordering::Acquire)
    }

    /// Sets the register.
    pub(super) fn set(&self, value: u32) {
        self.register.store(value, Ordering::Release);
    }

    /// The device cannot continue, and interrupts its driver to say so.
    pub(super) fn fail(&self, name: &str, fault: &Fault, interrupt: &Interrupt) {
        self.needs_reset(name, &fault.to_string());
        interrupt.config_changed();
    }

    /// The device cannot go on, for this reason.
    pub(super) fn needs_reset(&self, name: &str, reason: &str) {
        self.register
            .fetch_or(VIRTIO_CONFIG_S_NEEDS_RESET, Ordering::AcqRel);
        // A guest may break its device as often as it likes; the first time is what explains the rest.
        lock(&self.fault).get_or_insert_with(|| format!("the guest's {name} gave up: {reason}"));
    }

    /// Why the device gave up first, if it ever did.
    pub(super) fn fault(&self) -> Option<String> {
        lock(&self.fault).clone()
    }
}
