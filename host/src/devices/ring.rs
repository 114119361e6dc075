//! A virtqueue as a device uses it: chains come out checked, and go back with what was written.

use super::buffers::Buffers;
use super::interrupt::Interrupt;
use super::memory::Ram;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{GuestMemoryBackend, VolatileSlice};

/// What makes a device give up on its driver until that resets it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The queue itself.
    #[error("its queue is broken: {0}")]
    Queue(#[from] virtio_queue::Error),
    /// A chain that ends nowhere, goes round, or is outside of memory.
    #[error("a descriptor chain is broken: {0}")]
    Chain(&'static str),
    /// What stands behind the device.
    #[error("{0}: {1}")]
    Host(&'static str, std::io::Error),
}

/// A request: what the driver gives to read, and room for the device to write.
#[derive(Debug)]
pub struct Chain<'m> {
    /// Its first descriptor, which names it.
    head: u16,
    /// What the device reads.
    pub readable: Buffers<'m>,
    /// What the device writes.
    pub writable: Buffers<'m>,
}

/// A virtqueue.
///
/// A driver with a processor of its own can make chains available faster than they are served, so a ring gives out
/// no more than it has room for until its next [`Ring::begin`]: between two rounds, orders are heard.
#[derive(Debug)]
pub struct Ring {
    queue: Queue,
    /// How many chains it gives out yet in this round.
    left: u16,
}

impl Ring {
    /// A queue that its driver has set up, or left alone.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Ring {
            left: queue.size(),
            queue,
        }
    }

    /// Begins a round.
    pub fn begin(&mut self) {
        self.left = self.queue.size();
    }

    /// Whether the round ended before the chains did.
    #[must_use]
    pub fn cut_short(&self) -> bool {
        self.left == 0
    }

    /// How many chains its driver can have waiting at once.
    #[must_use]
    pub fn size(&self) -> usize {
        self.queue.size().into()
    }

    /// The next chain; `None` when there is none in this round, or the driver does not use this queue.
    ///
    /// # Errors
    /// [`Fault::Queue`], [`Fault::Chain`].
    pub fn pop<'m>(&mut self, ram: &'m Ram) -> Result<Option<Chain<'m>>, Fault> {
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
            return Err(Fault::Chain("it begins outside of the table"));
        }
        let mut more = true;
        for descriptor in descriptors {
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

    /// Gives the last chain back as if it had not been taken.
    pub fn undo_pop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Returns a chain with `written` bytes in its writable buffers.
    ///
    /// # Errors
    /// [`Fault::Queue`].
    pub fn push(&mut self, ram: &Ram, head: u16, written: u32) -> Result<(), Fault> {
        Ok(self.queue.add_used(ram, head, written)?)
    }

    /// Interrupts the driver for what was returned, unless it does not want to hear of it now.
    ///
    /// # Errors
    /// [`Fault::Queue`].
    pub fn signal(&mut self, ram: &Ram, interrupt: &Interrupt) -> Result<(), Fault> {
        if self.queue.ready() && self.queue.needs_notification(ram)? {
            interrupt.used();
        }
        Ok(())
    }

    /// Serves every chain that is there: `serve` gives how many bytes it wrote. The driver needs not ring meanwhile.
    ///
    /// # Errors
    /// Those of the queue, and `serve`'s.
    pub fn serve(
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
                self.push(ram, head, written)?;
                served = true;
            }
            // True if more came between the last look and the driver's permission to ring.
            if !self.rearm(ram)? {
                break;
            }
        }
        if served {
            self.signal(ram, interrupt)?;
        }
        Ok(())
    }

    /// Has the driver ring at the next chain; true if there is one already, and the round goes on.
    ///
    /// # Errors
    /// [`Fault::Queue`].
    pub fn rearm(&mut self, ram: &Ram) -> Result<bool, Fault> {
        Ok(self.queue.ready() && self.queue.enable_notification(ram)? && self.left > 0)
    }
}

impl Chain<'_> {
    /// The descriptor that names it, for [`Ring::push`].
    #[must_use]
    pub fn head(&self) -> u16 {
        self.head
    }
}
