//! Devices driven by hand: rings written byte by byte, by a driver that does as it should and by one that does not.

mod balloon;
mod card;
mod disk;
mod hostile;
mod vsock;

use super::irqchip::Controller;
use super::virtio::device::Device;
use super::virtio::interrupt::Interrupt;
use super::virtio::io::Io;
use super::virtio::memory::View;
use super::virtio::queue::{Fault, Virtqueue};
use crate::base::cast::low32;
use crate::base::stop::Stop;
use crate::memory::{GuestMemory, Pages};
use std::sync::Arc;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};

/// A queue of this length, its parts, and the pages where buffers may lie.
const LENGTH: u16 = 16;
const QUEUES: u64 = 0x1_0000;
const TABLE: u64 = 0x0;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const BUFFERS: u64 = 0x10_0000;

/// Flags of descriptors.
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A round of a device's thread begins.
fn begin(io: &mut Io) {
    io.queues.iter_mut().for_each(Virtqueue::begin_round);
}

/// A driver's side: guest memory with one region of queue parts for each queue.
struct Driver {
    memory: GuestMemory,
    view: View,
    available: Vec<u16>,
}

impl Driver {
    fn new(queues: usize) -> Self {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        Driver {
            view: View::new(&memory).unwrap(),
            memory,
            available: vec![0; queues],
        }
    }

    fn part(queue: usize, part: u64) -> u64 {
        QUEUES * (1 + queue as u64) + part
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.memory.write(at, bytes).unwrap();
    }

    fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(at, &mut bytes).unwrap();
        bytes
    }

    fn descriptor(&self, queue: usize, number: u16, (at, len, flags, next): (u64, u32, u16, u16)) {
        let mut bytes = at.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.put(Self::part(queue, TABLE) + u64::from(number) * 16, &bytes);
    }

    /// Makes the chain that begins at `head` available.
    fn offer(&mut self, queue: usize, head: u16) {
        let index = &mut self.available[queue];
        let slot = u64::from(*index % LENGTH) * 2;
        *index = index.wrapping_add(1);
        let index = *index;
        self.put(Self::part(queue, AVAILABLE) + 4 + slot, &head.to_le_bytes());
        self.put(Self::part(queue, AVAILABLE) + 2, &index.to_le_bytes());
    }

    /// A chain of buffers, each with its address, length, and whether the device writes it.
    fn request(&mut self, queue: usize, buffers: &[(u64, u32, bool)]) {
        let last = buffers.len() - 1;
        for (number, &(at, len, write)) in buffers.iter().enumerate() {
            let flags = if write { WRITE } else { 0 } | if number < last { NEXT } else { 0 };
            let number = u16::try_from(number).unwrap();
            self.descriptor(queue, number, (at, len, flags, number + 1));
        }
        self.offer(queue, 0);
    }

    /// How many chains came back, and the length written to the last.
    fn used(&self, queue: usize) -> (u16, u32) {
        let index = u16::from_le_bytes(self.get(Self::part(queue, USED) + 2));
        let slot = u64::from(index.wrapping_sub(1) % LENGTH) * 8;
        let len = self.get(Self::part(queue, USED) + 4 + slot + 4);
        (index, u32::from_le_bytes(len))
    }

    /// What the device's thread would have.
    fn io(&self, features: u64) -> Io {
        let stop = Stop::default();
        let queues = (0..self.available.len()).map(|number| {
            let mut queue = Queue::new(LENGTH).unwrap();
            queue.set_desc_table_address(Some(low32(Self::part(number, TABLE))), Some(0));
            queue.set_avail_ring_address(Some(low32(Self::part(number, AVAILABLE))), Some(0));
            queue.set_used_ring_address(Some(low32(Self::part(number, USED))), Some(0));
            queue.set_event_idx(features & 1 << VIRTIO_RING_F_EVENT_IDX != 0);
            queue.set_ready(true);
            assert!(queue.is_valid(&*self.view));
            Virtqueue::new(queue, stop.clone())
        });
        let controller = Arc::new(Controller::new(None, None));
        Io {
            memory: self.view.clone(),
            queues: queues.collect(),
            interrupt: Interrupt::new(&controller, 5),
            features,
            status: Arc::default(),
            stop,
        }
    }

    /// Rings once, as a driver that has just started.
    fn notify(&self, device: &mut dyn Device) -> Result<(), Fault> {
        device.notified(&mut self.io(0))
    }
}
