//! A machine's devices, behind the addresses that are no RAM.

use super::balloon;
use super::irqchip::{Controller, Irqchip};
use super::net::Address;
use super::spec::Spec;
use super::virtio::interrupt::Interrupt;
use super::virtio::memory::View;
use super::virtio::mmio::Transport;
use crate::base::bytes::fill;
use crate::base::cast::{to_u32, to_usize};
use crate::base::lock::lock;
use crate::error::{Error, Result};
use crate::layout;
use crate::load::mptable::Interrupts;
use crate::memory::GuestMemory;
use kvm_ioctls::VmFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The first line: below it lie those that a PC's own devices have.
const FIRST_IRQ: u32 = 5;

/// The lines of KVM's I/O APIC, which bound the number of devices.
const PC_PINS: u32 = 24;

/// The devices of a machine.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    transports: Vec<Mutex<Transport>>,
    controller: Option<Arc<Controller>>,
    /// The guest's address: the kernel sets one.
    address: Option<Address>,
    console: bool,
    /// The kernel's parameter for its balloon.
    balloon: Option<String>,
    /// Whether PID 1 runs, and so every driver.
    ready: Arc<AtomicBool>,
}

impl Devices {
    /// Makes them for a machine with this memory and interrupt hardware.
    ///
    /// # Errors
    /// What a device could not open.
    pub(crate) fn new(
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

    /// Starts their threads, each confined by its filter or not. They are in the caller's jail.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn start(&self, confine: bool) -> Result<()> {
        let mut transports = self.transports.iter();
        transports.try_for_each(|transport| lock(transport).start(confine))
    }

    /// Their lines, for the MP table.
    #[must_use]
    pub(crate) fn interrupts(&self) -> Option<Interrupts> {
        self.controller.as_ref()?;
        // `new` has checked that they are lines of the chip, which has few.
        let line = |irq: u32| u8::try_from(irq).ok();
        Some(Interrupts {
            first: line(FIRST_IRQ)?,
            end: line(FIRST_IRQ + to_u32(self.transports.len()))?,
        })
    }

    /// What they add to the kernel's command line: their registers and lines too, unless ACPI tells of those.
    #[must_use]
    pub(crate) fn command_line(&self, acpi: bool) -> String {
        let told = if acpi { 0 } else { self.transports.len() };
        let lines = (0..told as u64).zip(FIRST_IRQ..);
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

    /// Serves a read outside RAM. Addresses without a device read as all ones, as on a PC.
    pub(crate) fn read(&self, at: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((number, offset)) = slot(at)
            && let Some(transport) = self.transports.get(number)
        {
            lock(transport).read(offset, data);
        } else if let (Some(offset), Some(controller)) = (ioapic(at), &self.controller) {
            let len = data.len().min(4);
            fill(&mut data[..len], &controller.read(offset).to_le_bytes());
        }
    }

    /// Serves a write outside RAM. Addresses without a device ignore it.
    pub(crate) fn write(&self, at: u64, data: &[u8]) {
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

    /// PID 1 runs, so that a console may have its input.
    pub(crate) fn guest_is_ready(&self) {
        if self.console {
            self.ready.store(true, Ordering::Release);
            let transports = self.transports.iter();
            transports.for_each(|transport| lock(transport).notify());
        }
    }

    /// Why devices gave up, a line each.
    #[must_use]
    pub(crate) fn faults(&self) -> Vec<String> {
        let transports = self.transports.iter();
        transports
            .filter_map(|transport| lock(transport).fault())
            .collect()
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // All at once, before the first is waited for.
        let transports = self.transports.iter();
        transports.for_each(|transport| lock(transport).stop());
    }
}

/// The device's number and the offset in its page.
fn slot(at: u64) -> Option<(usize, u64)> {
    let offset = at.checked_sub(layout::DEVICES)?;
    Some((to_usize(offset / layout::PAGE), offset % layout::PAGE))
}

fn ioapic(at: u64) -> Option<u64> {
    at.checked_sub(layout::IOAPIC)
        .filter(|&offset| offset < layout::PAGE)
}
