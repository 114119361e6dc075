//! Devices of the guest: virtio over memory-mapped registers, each only where it was asked for.
//!
//! The kernel learns of them from its command line (`virtio_mmio.device=`), and of their interrupts from the MP table; of
//! both from ACPI tables, where it can read these and is not ours. A machine without devices has no registers, no I/O APIC, and
//! no thread.

pub(crate) mod balloon;
pub(crate) mod block;
mod bus;
pub(crate) mod console;
pub(crate) mod entropy;
mod ioapic;
pub(crate) mod irqchip;
pub(crate) mod net;
mod options;
mod spec;
#[cfg(test)]
mod tests;
pub(crate) mod virtio;
pub(crate) mod vsock;

pub use crate::base::terminal::RawMode;
pub use block::Disk;
pub(crate) use bus::Devices;
pub use net::{Address, Card};
pub use spec::{Spec, Terminal};
pub use vsock::Sockets;
