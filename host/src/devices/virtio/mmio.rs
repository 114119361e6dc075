//! The MMIO transport: a virtio device's registers in memory (virtio 1.2, 4.2.2), version 2 alone.

use super::config::Config;
use super::device::Device;
use super::interrupt::Interrupt;
use super::io::Io;
use super::memory::View;
use super::queue::{Fault, Virtqueue};
use super::status::Status;
use super::worker::Worker;
use crate::base::bytes::fill;
use crate::base::cast::low32;
use crate::error::{Error, Result};
use std::mem;
use std::sync::Arc;
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK as DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK as FEATURES_OK,
    VIRTIO_CONFIG_S_NEEDS_RESET as NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio::*;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{Queue, QueueT};

/// The value of the magic register, and the version of the specification's own registers.
const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
/// Who made the device: any number does.
const VENDOR: u32 = u32::from_le_bytes(*b"JIFY");

/// Where the device's configuration space begins.
const CONFIG: u64 = VIRTIO_MMIO_CONFIG as u64;

/// Feature bits of the transport.
const INDIRECT_DESC: u64 = 1 << VIRTIO_RING_F_INDIRECT_DESC;
const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
const VERSION_1: u64 = 1 << VIRTIO_F_VERSION_1;
const TRANSPORT_FEATURES: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1;

/// A device behind its registers.
#[derive(Debug)]
pub(crate) struct Transport {
    id: u32,
    features: u64,
    driver_features: u64,
    features_sel: u32,
    driver_features_sel: u32,
    queues: Vec<Queue>,
    queue_sel: u32,
    status: Arc<Status>,
    /// Whether the thread has had the driver's virtqueues since the last reset.
    active: bool,
    interrupt: Interrupt,
    config: Arc<Config>,
    memory: View,
    worker: Worker,
}

impl Transport {
    /// Makes a device's registers, and a thread that is yet to be started.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn new(device: Box<dyn Device>, interrupt: Interrupt, memory: View) -> Result<Self> {
        let queues = device
            .queue_sizes()
            .iter()
            .map(|size| Queue::new(*size))
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| Error::Device(format!("{}: {error}", device.name())))?;
        Ok(Transport {
            id: device.id(),
            features: device.features() | TRANSPORT_FEATURES,
            driver_features: 0,
            features_sel: 0,
            driver_features_sel: 0,
            queues,
            queue_sel: 0,
            status: Arc::default(),
            active: false,
            interrupt,
            config: device.config(),
            memory,
            worker: Worker::new(device)?,
        })
    }

    /// Starts the device's thread, confined by its filter or not.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn start(&mut self, confine: bool) -> Result<()> {
        self.worker.start(confine, Arc::clone(&self.status))
    }

    /// Why the device gave up, if it did.
    pub(crate) fn fault(&self) -> Option<String> {
        self.status.fault()
    }

    /// Has the device's thread look at its virtqueues.
    pub(crate) fn notify(&self) {
        self.worker.notify();
    }

    /// Serves a read.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) {
        if offset >= CONFIG {
            return self.config.read(offset - CONFIG, data);
        }
        // Registers are 32 bits wide; the specification knows no other access to them.
        let value = if data.len() == 4 {
            self.register(offset)
        } else {
            0
        };
        fill(data, &value.to_le_bytes());
    }

    fn register(&self, offset: u64) -> u32 {
        let queue = self.queues.get(self.queue_sel as usize);
        match low32(offset) {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.id,
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => match self.features_sel {
                0 => low32(self.features),
                1 => low32(self.features >> 32),
                _ => 0,
            },
            VIRTIO_MMIO_QUEUE_NUM_MAX => queue.map_or(0, |queue| queue.max_size().into()),
            VIRTIO_MMIO_QUEUE_READY => queue.map_or(0, |queue| queue.ready().into()),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt.status(),
            VIRTIO_MMIO_STATUS => self.status.get(),
            // No shared memory: a length of all ones.
            VIRTIO_MMIO_SHM_LEN_LOW | VIRTIO_MMIO_SHM_LEN_HIGH => u32::MAX,
            VIRTIO_MMIO_CONFIG_GENERATION => self.config.generation(),
            _ => 0,
        }
    }

    /// Serves a write.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        if offset >= CONFIG {
            return;
        }
        let Ok(bytes) = data.try_into() else { return };
        let value = u32::from_le_bytes(bytes);
        let status = self.status.get();
        match low32(offset) {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES => self.set_driver_features(value),
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            VIRTIO_MMIO_QUEUE_SEL => self.queue_sel = value,
            VIRTIO_MMIO_QUEUE_NOTIFY if status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK => {
                self.worker.notify();
            }
            VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt.acknowledge(value),
            VIRTIO_MMIO_STATUS => self.set_status(value),
            register if status & (FEATURES_OK | DRIVER_OK) == FEATURES_OK => {
                self.set_up_queue(register, value);
            }
            _ => {}
        }
    }

    fn set_driver_features(&mut self, value: u32) {
        if self.status.get() & FEATURES_OK != 0 {
            return;
        }
        let shift = match self.driver_features_sel {
            0 => 0,
            1 => 32,
            _ => return,
        };
        self.driver_features &= !(0xffff_ffff << shift);
        self.driver_features |= u64::from(value) << shift;
    }

    fn set_up_queue(&mut self, register: u32, value: u32) {
        let Some(queue) = self.queues.get_mut(self.queue_sel as usize) else {
            return;
        };
        // A queue refuses values that it cannot have; `activate` checks the whole.
        match register {
            VIRTIO_MMIO_QUEUE_NUM => queue.set_size(u16::try_from(value).unwrap_or(u16::MAX)),
            VIRTIO_MMIO_QUEUE_READY => queue.set_ready(value == 1),
            VIRTIO_MMIO_QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
            VIRTIO_MMIO_QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
            VIRTIO_MMIO_QUEUE_AVAIL_LOW => queue.set_avail_ring_address(Some(value), None),
            VIRTIO_MMIO_QUEUE_AVAIL_HIGH => queue.set_avail_ring_address(None, Some(value)),
            VIRTIO_MMIO_QUEUE_USED_LOW => queue.set_used_ring_address(Some(value), None),
            VIRTIO_MMIO_QUEUE_USED_HIGH => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let before = self.status.get();
        let mut value = value & 0xff | before & NEEDS_RESET;
        let unknown = self.driver_features & !self.features != 0;
        if value & FEATURES_OK != 0 && (unknown || self.driver_features & VERSION_1 == 0) {
            value &= !FEATURES_OK;
        }
        self.status.set(value);
        // Once between two resets: a driver that clears the bit and sets it again gets no second device.
        let ready = value & (DRIVER_OK | FEATURES_OK | NEEDS_RESET) == DRIVER_OK | FEATURES_OK;
        if ready && !mem::replace(&mut self.active, true) {
            self.activate();
        }
    }

    fn activate(&mut self) {
        let event_idx = self.driver_features & EVENT_IDX != 0;
        for queue in &mut self.queues {
            queue.set_event_idx(event_idx);
        }
        let ready = |queue: &&Queue| queue.ready();
        if !self
            .queues
            .iter()
            .filter(ready)
            .all(|queue| queue.is_valid(&*self.memory))
        {
            let fault = Fault::Chain("a queue is outside of memory");
            return self.status.fail("driver", &fault, &self.interrupt);
        }
        let stop = self.worker.stop();
        let queues = self.queues.iter_mut().map(|queue| {
            let size = queue.max_size();
            // A queue is the thread's until the reset, which makes a new one.
            let empty = Queue::new(size)?;
            Ok(Virtqueue::new(mem::replace(queue, empty), stop.clone()))
        });
        let queues: std::result::Result<_, virtio_queue::Error> = queues.collect();
        let Ok(queues) = queues else { return };
        self.worker.activate(Io {
            memory: self.memory.clone(),
            queues,
            interrupt: self.interrupt.clone(),
            features: self.driver_features,
            status: Arc::clone(&self.status),
            stop,
        });
    }

    /// The machine ends: the device's thread is to leave what it does.
    pub(crate) fn stop(&self) {
        self.worker.stop().request();
    }

    fn reset(&mut self) {
        self.worker.reset();
        self.active = false;
        self.status.set(0);
        self.interrupt.acknowledge(u32::MAX);
        self.driver_features = 0;
        (self.features_sel, self.driver_features_sel, self.queue_sel) = (0, 0, 0);
        self.queues.iter_mut().for_each(QueueT::reset);
    }
}
