//! What virtio devices share: registers, virtqueues, interrupts, and a thread each.

pub(crate) mod buffers;
pub(crate) mod config;
pub(crate) mod device;
pub(crate) mod interrupt;
pub(crate) mod io;
pub(crate) mod memory;
pub(crate) mod mmio;
pub(crate) mod queue;
pub(crate) mod status;
mod worker;
