//! Devices of the guest: virtio over memory-mapped registers, each only where it was asked for.
//!
//! The kernel hears of them on its command line (`virtio_mmio.device=`) and of their interrupts in the MP table. A
//! machine without devices has no registers, no I/O APIC, and no thread.

pub mod balloon;
pub mod block;
pub mod buffers;
pub mod config;
pub mod console;
pub mod entropy;
pub mod interrupt;
pub mod ioapic;
pub mod memory;
pub mod mmio;
pub mod net;
pub mod ring;
pub mod tap;
#[cfg(test)]
mod tests;
pub mod vsock;
pub mod worker;

use crate::error::{Error, Result};
use crate::layout;
use crate::memory::GuestMemory;
use crate::mptable::Interrupts;
use crate::seccomp::Filter;
use crate::vm::Irqchip;
use config::Config;
use interrupt::{Controller, Interrupt};
use kvm_ioctls::VmFd;
use memory::View;
use mmio::Transport;
use ring::Fault;
use rustix::event::{PollFd, PollFlags};
use std::fmt::Debug;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use worker::Io;

pub(crate) use worker::Blocked;

pub use block::Disk;
pub use net::{Address, Card};
pub use vsock::Sockets;

/// The first line: below it lie those that a PC's own devices have.
const FIRST_IRQ: u32 = 5;

/// The lines of KVM's I/O APIC, and so the most devices and five.
const PC_PINS: u32 = 24;

/// Sparing rings and interrupts: each side says at which index it wants to hear of the other.
const FEATURE_EVENT_IDX: u64 = 1 << 29;

/// A device to make.
#[derive(Clone, Debug)]
pub enum Spec {
    /// A disk.
    Disk(Disk),
    /// A network card.
    Net(Card),
    /// A console on two descriptors of ours.
    Console(Terminal),
    /// A source of randomness.
    Entropy,
    /// Sockets between guest and host.
    Vsock(Sockets),
    /// Memory that the guest frees goes back to the host.
    Balloon,
}

/// The two ends of a console.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// What is typed.
    pub input: Arc<File>,
    /// What is shown.
    pub output: Arc<File>,
}

impl Spec {
    fn address(&self) -> Option<Address> {
        match self {
            Spec::Net(card) => card.address,
            _ => None,
        }
    }

    fn make(&self, ready: &Arc<AtomicBool>) -> Result<Box<dyn Device>> {
        Ok(match self {
            Spec::Disk(disk) => Box::new(block::Block::open(disk)?),
            Spec::Net(card) => Box::new(net::Net::open(card)?),
            Spec::Console(Terminal { input, output }) => {
                let copy = |file: &File| {
                    file.try_clone()
                        .map_err(|error| Error::System { call: "dup", error })
                };
                Box::new(console::Console::new(copy(input)?, copy(output)?, ready))
            }
            Spec::Entropy => Box::new(entropy::Entropy),
            Spec::Balloon => Box::new(balloon::Balloon),
            Spec::Vsock(sockets) => Box::new(vsock::Vsock::open(sockets)?),
        })
    }
}

/// What a device is beside its registers and its thread.
pub trait Device: Debug + Send {
    /// Its type (virtio 1.2, 5).
    fn kind(&self) -> u32;
    /// What to call it.
    fn name(&self) -> &'static str;
    /// The features it offers, its own ones alone.
    fn features(&self) -> u64;
    /// The most descriptors that each of its queues has.
    fn queues(&self) -> &'static [u16];
    /// Its configuration.
    fn config(&self) -> Arc<Config>;
    /// The driver is ready.
    fn start(&mut self, _io: &mut Io) -> std::result::Result<(), Fault> {
        Ok(())
    }
    /// The driver has rung, for one of the queues or several.
    fn rung(&mut self, io: &mut Io) -> std::result::Result<(), Fault>;
    /// What else it waits for.
    fn sources(&self) -> Vec<PollFd<'_>> {
        Vec::new()
    }
    /// Something came of the sources, in their order.
    fn polled(&mut self, _io: &mut Io, _events: &[PollFlags]) -> std::result::Result<(), Fault> {
        Ok(())
    }
    /// The driver is gone.
    fn reset(&mut self) {}
    /// What its thread may ask of the kernel.
    fn filter(&self) -> Filter {
        Filter::Device
    }
}

/// The devices of a machine.
#[derive(Debug, Default)]
pub struct Devices {
    transports: Vec<Mutex<Transport>>,
    controller: Option<Arc<Controller>>,
    /// The guest's address: the kernel sets one.
    address: Option<Address>,
    console: bool,
    /// What the kernel is told for its balloon.
    balloon: Option<String>,
    /// Whether PID 1 runs, and so every driver.
    ready: Arc<AtomicBool>,
}

impl Devices {
    /// Makes them for a machine with this memory and interrupt hardware.
    ///
    /// # Errors
    /// What a device could not open.
    pub fn new(
        specs: &[Spec],
        vm: &Arc<VmFd>,
        memory: &GuestMemory,
        irqchip: Irqchip,
    ) -> Result<Self> {
        let Some(count) = u32::try_from(specs.len()).ok().filter(|&count| count > 0) else {
            return Ok(Devices::default());
        };
        if count > PC_PINS - FIRST_IRQ {
            return Err(Error::Device(format!(
                "a machine takes {} devices, and {count} were asked for",
                PC_PINS - FIRST_IRQ
            )));
        }
        let pins = (irqchip == Irqchip::Local).then_some(FIRST_IRQ + count);
        let controller = Arc::new(Controller::new(Some(Arc::clone(vm)), pins));
        let view = View::new(memory)?;
        let ready = Arc::new(AtomicBool::new(false));
        let transports = specs
            .iter()
            .zip(FIRST_IRQ..)
            .map(|(spec, irq)| {
                let interrupt = Interrupt::new(&controller, irq);
                Transport::new(spec.make(&ready)?, interrupt, view.clone()).map(Mutex::new)
            })
            .collect::<Result<_>>()?;
        Ok(Devices {
            transports,
            controller: Some(controller),
            ready,
            console: specs.iter().any(|spec| matches!(spec, Spec::Console(_))),
            address: specs.iter().find_map(Spec::address),
            balloon: specs
                .iter()
                .any(|spec| matches!(spec, Spec::Balloon))
                .then(|| balloon::command_line(memory.len())),
        })
    }

    /// Starts their threads, each confined by its filter or not, and in the jail that the caller is in.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn start(&self, confine: bool) -> Result<()> {
        let mut transports = self.transports.iter();
        transports.try_for_each(|transport| lock(transport).start(confine))
    }

    /// What the MP table says of their lines.
    #[must_use]
    pub fn interrupts(&self) -> Option<Interrupts> {
        let last = FIRST_IRQ + self.transports.len() as u32;
        self.controller.is_some().then_some(Interrupts {
            first: FIRST_IRQ as u8,
            end: last as u8,
        })
    }

    /// What the kernel's command line says of them.
    #[must_use]
    pub fn command_line(&self) -> String {
        let lines = (0..self.transports.len() as u64).zip(FIRST_IRQ..);
        lines
            .map(|(number, irq)| {
                let at = layout::DEVICES + number * layout::PAGE;
                format!(" virtio_mmio.device=4K@{at:#x}:{irq}")
            })
            // The kernel takes a console for its own messages; those that matter are enough there.
            .chain(self.console.then(|| " quiet".to_owned()))
            .chain(self.address.as_ref().map(Address::command_line))
            .chain(self.balloon.clone())
            .collect()
    }

    /// Serves a read of memory that is no RAM: what is not there reads as all ones, as on a PC.
    pub fn read(&self, at: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((number, offset)) = slot(at)
            && let Some(transport) = self.transports.get(number)
        {
            lock(transport).read(offset, data);
        } else if let (Some(offset), Some(controller)) = (ioapic(at), &self.controller) {
            for (into, byte) in data.iter_mut().zip(controller.read(offset).to_le_bytes()) {
                *into = byte;
            }
        }
    }

    /// Serves a write to memory that is no RAM: what is not there takes everything and does nothing.
    pub fn write(&self, at: u64, data: &[u8]) {
        if let Some((number, offset)) = slot(at)
            && let Some(transport) = self.transports.get(number)
        {
            lock(transport).write(offset, data);
        } else if let (Some(offset), Some(controller)) = (ioapic(at), &self.controller)
            && let Ok(bytes) = data.try_into()
        {
            controller.write(offset, u32::from_le_bytes(bytes));
        }
    }

    /// PID 1 runs.
    pub fn guest_is_ready(&self) {
        if self.console {
            self.ready.store(true, Ordering::Release);
            let transports = self.transports.iter();
            transports.for_each(|transport| lock(transport).ring());
        }
    }

    /// What made devices give up, a line each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let transports = self.transports.iter();
        transports
            .flat_map(|transport| lock(transport).faults())
            .collect()
    }
}

fn lock(transport: &Mutex<Transport>) -> std::sync::MutexGuard<'_, Transport> {
    transport.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device's number and the offset in its page.
fn slot(at: u64) -> Option<(usize, u64)> {
    let offset = at.checked_sub(layout::DEVICES)?;
    Some(((offset / layout::PAGE) as usize, offset % layout::PAGE))
}

fn ioapic(at: u64) -> Option<u64> {
    at.checked_sub(layout::IOAPIC)
        .filter(|&offset| offset < layout::PAGE)
}
