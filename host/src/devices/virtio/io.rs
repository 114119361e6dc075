//! What a device works with while its driver uses it.

use super::interrupt::Interrupt;
use super::memory::View;
use super::queue::Virtqueue;
use super::status::Status;
use crate::base::stop::Stop;
use std::sync::Arc;

/// What a device works with from `DRIVER_OK` to the reset.
#[derive(Debug)]
pub struct Io {
    /// The guest's memory.
    pub memory: View,
    /// All of its virtqueues, including those that the driver does not use.
    pub queues: Vec<Virtqueue>,
    /// Its interrupt.
    pub interrupt: Interrupt,
    /// The feature bits that the driver accepted.
    pub features: u64,
    /// Its status, where a fault is recorded.
    pub status: Arc<Status>,
    /// Whether its thread is to leave all this.
    pub stop: Stop,
}
