//! A virtqueue as a device uses it: descriptor chains come out checked, and go back by the used ring.

use super::buffers::Buffers;
use super::interrupt::Interrupt;
use super::memory::Ram;
use crate::base::stop::Stop;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{GuestMemoryBackend, VolatileSlice};

/// Why a device needs a reset by its driver.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The queue itself.
    #[error("its queue is broken: {0}")]
    Queue(#[from] virtio_queue::Error),
    /// A descriptor chain without an end, or outside guest memory.
    #[error("a descriptor chain is broken: {0}")]
    Chain(&'static str),
    /// A system call of the host, for the device.
    #[error("{0}: {1}")]
    Host(&'static str, std::io::Error),
}

/// A descriptor chain: device-readable buffers, then device-writable ones.
#[derive(Debug)]
pub(crate) struct Chain<'m> {
    /// The index of its first descriptor.
    head: u16,
    /// The device-readable buffers.
    pub(crate) readable: Buffers<'m>,
    /// The device-writable buffers.
    pub(crate) writable: Buffers<'m>,
}

/// A virtqueue.
///
/// A driver with a vCPU of its own can make chains available faster than they are served. So a queue gives out no more
/// chains than its size until the next [`Virtqueue::begin_round`], and none once its thread is to stop: between two rounds,
/// the device's thread takes commands.
#[derive(Debug)]
pub struct Virtqueue {
    queue: Queue,
    /// How many chains it still gives out in this round.
    left: u16,
    /// Whether the device's thread is to leave it, which ends the round.
    stop: Stop,
}

impl Virtqueue {
    /// A queue that its driver has set up, or left alone.
    #[must_use]
    pub fn new(queue: Queue, stop: Stop) -> Self {
        Virtqueue {
            left: queue.size(),
            queue,
            stop,
        }
    }

    /// Begins a round.
    pub fn begin_round(&mut self) {
        self.left = self.queue.size();
    }

    /// Whether the round ended before the chains did.
    #[must_use]
    pub(crate) fn was_cut_short(&self) -> bool {
        self.left == 0
    }

    /// Its size: how many chains can be available at once.
    #[must_use]
    pub(crate) fn size(&self) -> usize {
        self.queue.size().into()
    }

    /// The next available chain; `None` if there is none in this round, or the driver does not use this queue.
    ///
    /// # Errors
    /// [`Fault::Queue`], [`Fault::Chain`].
    pub(crate) fn pop<'m>(&mut self, ram: &'m Ram) -> Result<Option<Chain<'m>>, Fault> {
        if self.stop.requested() {
            self.left = 0;
        }
        if !self.queue.ready() || self.left == 0 {
            return Ok(None);
        }
        let Some(descriptors) = self.queue.iter(ram)?.next() else {
            return Ok(None);
        };
        self.left -= 1;
        let mut chain = Chain {
            head: descriptors.head_index(),
            readable: Buffers::default(),
            writable: Buffers::default(),
        };
        if chain.head >= self.queue.size() {
            return Err(Fault::Chain("it begins outside of the descriptor table"));
        }
        let mut more = true;
        for (number, descriptor) in (0_u16..).zip(descriptors) {
            // The driver must not make longer ones (virtio 1.2, 2.7.5.3.1), which would take memory without a bound.
            if number >= self.queue.size() {
                return Err(Fault::Chain("it is longer than its queue"));
            }
            let slices = ram.get_slices(descriptor.addr(), descriptor.len() as usize);
            for slice in slices {
                let slice: VolatileSlice<'m> =
                    slice.map_err(|_| Fault::Chain("a buffer is outside of memory"))?;
                if descriptor.is_write_only() {
                    chain.writable.push(slice);
                } else if chain.writable.is_empty() {
                    chain.readable.push(slice);
                } else {
                    return Err(Fault::Chain("a buffer to read comes behind one to write"));
                }
            }
            more = descriptor.has_next();
        }
        if more {
            return Err(Fault::Chain("it has no end"));
        }
        Ok(Some(chain))
    }

    /// Makes the last chain available again, as if it had not been popped.
    pub(crate) fn undo_pop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Puts a chain in the used ring, with `written` bytes in its device-writable buffers.
    ///
    /// # Errors
    /// [`Fault::Queue`].
    pub(crate) fn add_used(&mut self, ram: &Ram, head: u16, written: u32) -> Result<(), Fault> {
        Ok(self.queue.add_used(ram, head, written)?)
    }

    /// Sends a used buffer notification, unless the driver suppresses it.
    ///
    /// # Errors
    /// [`Fault::Queue`].
    pub(crate) fn notify_driver(&mut self, ram: &Ram, interrupt: &Interrupt) -> Result<(), Fault> {
        if self.queue.ready() && self.queue.needs_notification(ram)? {
            interrupt.used_buffers();
        }
        Ok(())
    }

    /// Serves every available chain, with the driver's notifications disabled meanwhile; `serve` returns how many bytes it
    /// wrote.
    ///
    /// # Errors
    /// Those of the queue, and `serve`'s.
    pub(crate) fn serve(
        &mut self,
        ram: &Ram,
        interrupt: &Interrupt,
        mut serve: impl FnMut(Chain<'_>) -> Result<u32, Fault>,
    ) -> Result<(), Fault> {
        if !self.queue.ready() {
            return Ok(());
        }
        let mut served = false;
        loop {
            self.queue.disable_notification(ram)?;
            while let Some(chain) = self.pop(ram)? {
                let head = chain.head;
                let written = serve(chain)?;
                self.add_used(ram, head, written)?;
                served = true;
            }
            // True if more chains came between the last look and enabling notifications.
            if !self.enable_notification(ram)? {
                break;
            }
        }
        if served {
            self.notify_driver(ram, interrupt)?;
        }
        Ok(())
    }

    /// Has the driver notify of the next chain; true if there is one already, and the round goes on.
    ///
    /// # Errors
    /// [`Fault::Queue`].
    pub(crate) fn enable_notification(&mut self, ram: &Ram) -> Result<bool, Fault> {
        Ok(self.queue.ready() && self.queue.enable_notification(ram)? && self.left > 0)
    }
}

impl Chain<'_> {
    /// The index of its first descriptor, for [`Virtqueue::add_used`].
    #[must_use]
    pub(crate) fn head(&self) -> u16 {
        self.head
    }
}
