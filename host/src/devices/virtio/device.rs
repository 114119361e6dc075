//! What a device is, besides its registers and its thread.

use super::config::Config;
use super::io::Io;
use super::queue::Fault;
use crate::confine::seccomp::Filter;
use rustix::event::{PollFd, PollFlags};
use std::fmt::Debug;
use std::result::Result;
use std::sync::Arc;

/// A virtio device. Its thread calls all of this, after [`Device::activate`] only while a driver uses the device.
pub trait Device: Debug + Send {
    /// The device ID (virtio 1.2, 5).
    fn id(&self) -> u32;
    /// What to call it in messages.
    fn name(&self) -> &'static str;
    /// The feature bits that it offers, without those of the transport.
    fn features(&self) -> u64;
    /// The largest size of each of its virtqueues.
    fn queue_sizes(&self) -> &'static [u16];
    /// Its configuration space.
    fn config(&self) -> Arc<Config>;
    /// The driver has set `DRIVER_OK`.
    ///
    /// # Errors
    /// What makes the device need a reset.
    fn activate(&mut self, _io: &mut Io) -> Result<(), Fault> {
        Ok(())
    }
    /// The driver has notified one of the virtqueues, or several.
    ///
    /// # Errors
    /// What makes the device need a reset.
    fn notified(&mut self, io: &mut Io) -> Result<(), Fault>;
    /// What its thread polls for it, besides the driver's notifications.
    fn sources(&self) -> Vec<PollFd<'_>> {
        Vec::new()
    }
    /// Some of the sources have events, which come in the order of the sources.
    ///
    /// # Errors
    /// What makes the device need a reset.
    fn polled(&mut self, _io: &mut Io, _events: &[PollFlags]) -> Result<(), Fault> {
        Ok(())
    }
    /// What its thread polls for it while there is no driver.
    fn idle_source(&self) -> Option<PollFd<'_>> {
        None
    }
    /// That source has events.
    fn idle_polled(&mut self) {}
    /// The driver has reset the device, or is gone.
    fn reset(&mut self) {}
    /// What its thread may ask of the host's kernel.
    fn filter(&self) -> Filter {
        Filter::Device
    }
}
