//! The registers of a virtio device in memory (virtio 1.2, 4.2.2), version 2 alone.

use super::interrupt::Interrupt;
use super::memory::View;
use super::ring::{Fault, Ring};
use super::worker::{Failure, Io, Worker};
use super::{Config, Device, FEATURE_EVENT_IDX};
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use virtio_queue::{Queue, QueueT};

/// "virt", and the version of the specification's own registers.
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// Who made the device: any number does.
const VENDOR: u32 = u32::from_le_bytes(*b"JIFY");

/// Where the device's configuration begins.
const CONFIG: u64 = 0x100;

/// Features of the transport: descriptors in a table of their own, sparing rings and interrupts, the version.
const FEATURE_INDIRECT: u64 = 1 << 28;
const FEATURE_VERSION_1: u64 = 1 << 32;
const TRANSPORT_FEATURES: u64 = FEATURE_INDIRECT | FEATURE_EVENT_IDX | FEATURE_VERSION_1;

/// Bits of the status register (virtio 1.2, 2.1).
const DRIVER_OK: u32 = 4;
const FEATURES_OK: u32 = 8;
const NEEDS_RESET: u32 = 64;

/// What the vCPU and the device's thread share.
#[derive(Debug, Default)]
pub struct Shared {
    status: AtomicU32,
    faults: Mutex<Vec<String>>,
}

impl Shared {
    /// The device has given up; the driver is told.
    pub fn fail(&self, name: &str, fault: &Fault, interrupt: &Interrupt) {
        self.explain(name, &fault.to_string());
        interrupt.config();
    }

    /// The device has given up, for this reason.
    pub fn explain(&self, name: &str, reason: &str) {
        self.status.fetch_or(NEEDS_RESET, Ordering::AcqRel);
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        // A guest may break its device as often as it likes; the first is what explains.
        if faults.is_empty() {
            faults.push(format!("the guest's {name} gave up: {reason}"));
        }
    }
}

/// A device behind its registers.
#[derive(Debug)]
pub struct Transport {
    kind: u32,
    features: u64,
    driver_features: u64,
    feature_word: u32,
    driver_feature_word: u32,
    queues: Vec<Queue>,
    queue: u32,
    shared: Arc<Shared>,
    interrupt: Interrupt,
    config: Arc<Config>,
    view: View,
    worker: Worker,
}

impl Transport {
    /// Gives a device registers, and a thread that is yet to be started.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn new(device: Box<dyn Device>, interrupt: Interrupt, view: View) -> Result<Self> {
        let queues = device
            .queues()
            .iter()
            .map(|size| Queue::new(*size))
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| Error::Device(format!("{}: {error}", device.name())))?;
        Ok(Transport {
            kind: device.kind(),
            features: device.features() | TRANSPORT_FEATURES,
            driver_features: 0,
            feature_word: 0,
            driver_feature_word: 0,
            queues,
            queue: 0,
            shared: Arc::default(),
            interrupt,
            config: device.config(),
            view,
            worker: Worker::new(device)?,
        })
    }

    /// Starts the device's thread, confined by its filter or not.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn start(&mut self, confine: bool) -> Result<()> {
        self.worker
            .start(confine, Failure(Arc::clone(&self.shared)))
    }

    /// Why the device gave up, if it did.
    pub fn faults(&self) -> Vec<String> {
        let faults = self.shared.faults.lock();
        faults.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the device's thread look around.
    pub fn ring(&self) {
        self.worker.ring();
    }

    /// Serves a read.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if offset >= CONFIG {
            return self.config.read(offset - CONFIG, data);
        }
        // Registers are 32 bits wide; the specification knows no other access to them.
        let value = if data.len() == 4 {
            self.register(offset)
        } else {
            0
        };
        for (into, byte) in data.iter_mut().zip(value.to_le_bytes()) {
            *into = byte;
        }
    }

    fn register(&self, offset: u64) -> u32 {
        let queue = self.queues.get(self.queue as usize);
        match offset {
            0x00 => MAGIC,
            0x04 => VERSION,
            0x08 => self.kind,
            0x0c => VENDOR,
            0x10 => match self.feature_word {
                0 => self.features as u32,
                1 => (self.features >> 32) as u32,
                _ => 0,
            },
            0x34 => queue.map_or(0, |queue| queue.max_size().into()),
            0x44 => queue.map_or(0, |queue| queue.ready().into()),
            0x60 => self.interrupt.status(),
            0x70 => self.status(),
            // No shared memory: a length of all ones.
            0xb0 | 0xb4 => u32::MAX,
            0xfc => self.config.generation(),
            _ => 0,
        }
    }

    fn status(&self) -> u32 {
        self.shared.status.load(Ordering::Acquire)
    }

    /// Serves a write.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if offset >= CONFIG {
            return;
        }
        let Ok(bytes) = data.try_into() else { return };
        let value = u32::from_le_bytes(bytes);
        match offset {
            0x14 => self.feature_word = value,
            0x20 => self.take_features(value),
            0x24 => self.driver_feature_word = value,
            0x30 => self.queue = value,
            0x50 if self.status() & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK => self.worker.ring(),
            0x64 => self.interrupt.acknowledge(value),
            0x70 => self.set_status(value),
            _ if self.status() & (FEATURES_OK | DRIVER_OK) == FEATURES_OK => {
                self.set_up_queue(offset, value);
            }
            _ => {}
        }
    }

    fn take_features(&mut self, value: u32) {
        if self.status() & FEATURES_OK != 0 {
            return;
        }
        let shift = match self.driver_feature_word {
            0 => 0,
            1 => 32,
            _ => return,
        };
        self.driver_features &= !(0xffff_ffff << shift);
        self.driver_features |= u64::from(value) << shift;
    }

    fn set_up_queue(&mut self, offset: u64, value: u32) {
        let Some(queue) = self.queues.get_mut(self.queue as usize) else {
            return;
        };
        // What a queue cannot be set to, it refuses; `activate` looks at the whole.
        match offset {
            0x38 => queue.set_size(value.min(u16::MAX.into()) as u16),
            0x44 => queue.set_ready(value == 1),
            0x80 => queue.set_desc_table_address(Some(value), None),
            0x84 => queue.set_desc_table_address(None, Some(value)),
            0x90 => queue.set_avail_ring_address(Some(value), None),
            0x94 => queue.set_avail_ring_address(None, Some(value)),
            0xa0 => queue.set_used_ring_address(Some(value), None),
            0xa4 => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let before = self.status();
        let mut value = value & 0xff | before & NEEDS_RESET;
        let unknown = self.driver_features & !self.features != 0;
        if value & FEATURES_OK != 0 && (unknown || self.driver_features & FEATURE_VERSION_1 == 0) {
            value &= !FEATURES_OK;
        }
        self.shared.status.store(value, Ordering::Release);
        if value & !before & DRIVER_OK != 0 && value & (FEATURES_OK | NEEDS_RESET) == FEATURES_OK {
            self.activate();
        }
    }

    fn activate(&mut self) {
        let event_idx = self.driver_features & FEATURE_EVENT_IDX != 0;
        for queue in &mut self.queues {
            queue.set_event_idx(event_idx);
        }
        let ready = |queue: &&Queue| queue.ready();
        if !self
            .queues
            .iter()
            .filter(ready)
            .all(|queue| queue.is_valid(&*self.view))
        {
            let fault = Fault::Chain("a queue is outside of memory");
            return self.shared.fail("driver", &fault, &self.interrupt);
        }
        let rings = self.queues.iter_mut().map(|queue| {
            let size = queue.max_size();
            // A queue is the thread's until the reset, which makes a new one.
            Queue::new(size).map(|empty| Ring::new(std::mem::replace(queue, empty)))
        });
        let Ok(rings) = rings.collect() else { return };
        self.worker.serve(Io {
            view: self.view.clone(),
            rings,
            interrupt: self.interrupt.clone(),
            features: self.driver_features,
            config: Arc::clone(&self.config),
            fail: Failure(Arc::clone(&self.shared)),
        });
    }

    fn reset(&mut self) {
        self.worker.park();
        self.shared.status.store(0, Ordering::Release);
        self.interrupt.acknowledge(u32::MAX);
        self.driver_features = 0;
        (self.feature_word, self.driver_feature_word, self.queue) = (0, 0, 0);
        self.queues.iter_mut().for_each(QueueT::reset);
    }
}
