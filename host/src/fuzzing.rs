//! What only the fuzzers of `host/fuzz` use.

pub use crate::base::stop::Stop;
pub use crate::devices::balloon::Balloon;
pub use crate::devices::block::Block;
pub use crate::devices::console::Console;
pub use crate::devices::entropy::Entropy;
pub use crate::devices::irqchip::Controller;
pub use crate::devices::net::Net;
pub use crate::devices::virtio::device::Device;
pub use crate::devices::virtio::interrupt::Interrupt;
pub use crate::devices::virtio::io::Io;
pub use crate::devices::virtio::memory::View;
pub use crate::devices::virtio::queue::{Fault, Virtqueue};
pub use crate::devices::vsock::Vsock;
pub use crate::explain::dmesg::read as read_log;
pub use crate::explain::symbols::Symbols;
pub use crate::layout::{HIGH_MEMORY, KERNEL_MAP};
pub use crate::load::boot_params::write as write_boot_params;
pub use crate::load::entry::Entry;
pub use crate::load::initramfs::Initramfs;
pub use crate::load::kernel::Kernel;
pub use crate::load::mptable::{Interrupts, write as write_mp_table};
pub use crate::memory::GuestMemory;
pub use crate::memory::paging::write_identity_map;
pub use crate::trace::stamps::{Scale, Tick, read as read_stamps};
pub use crate::trace::unwind::orc::Orc;
pub use crate::trace::unwind::{Registers, Stack, Unwinder};
