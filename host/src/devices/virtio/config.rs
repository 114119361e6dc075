//! A device's configuration space (virtio 1.2, 2.5).

use crate::base::bytes::fill;
use crate::base::lock::lock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// A device's configuration space, as the driver reads it.
#[derive(Debug, Default)]
pub struct Config {
    bytes: Mutex<Vec<u8>>,
    generation: AtomicU32,
}

impl Config {
    /// A space with these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Config {
            bytes: Mutex::new(bytes),
            generation: AtomicU32::new(0),
        })
    }

    /// Fills `data` from an offset; past the end, with zeros.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) {
        let bytes = lock(&self.bytes);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        fill(data, bytes.get(offset..).unwrap_or_default());
    }

    /// Replaces the bytes.
    pub(crate) fn set(&self, new: Vec<u8>) {
        *lock(&self.bytes) = new;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A number that changes when the bytes do.
    #[must_use]
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }
}
