//! A device's configuration.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A device's configuration, as the driver reads it.
#[derive(Debug, Default)]
pub struct Config {
    bytes: Mutex<Vec<u8>>,
    generation: AtomicU32,
}

impl Config {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Config {
            bytes: Mutex::new(bytes),
            generation: AtomicU32::new(0),
        })
    }

    /// Fills `data`; past the end, with zeros.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.get(offset..))
            .unwrap_or_default();
        for (into, byte) in data
            .iter_mut()
            .zip(rest.iter().chain(std::iter::repeat(&0)))
        {
            *into = *byte;
        }
    }

    /// Replaces it.
    pub fn set(&self, new: Vec<u8>) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = new;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes when the configuration does.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }
}
