//! An eventfd: one thread signals it, another polls it.

use crate::error::{Result, system};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor that is readable from [`Event::signal`] until [`Event::clear`].
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    /// A new one, not signalled.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(crate) fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Event(eventfd(0, flags).map_err(system("eventfd"))?))
    }

    /// Makes the descriptor readable.
    pub(crate) fn signal(&self) {
        // It fails only when the counter is full, and then the descriptor is readable already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable until the next signal.
    pub(crate) fn clear(&self) {
        // It fails only when nothing was signalled.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
