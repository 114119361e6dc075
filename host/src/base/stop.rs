//! Who wants work to end: the user all machines, a timeout one vCPU's thread, a driver or a machine's end a device's.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a thread waits for something before it looks again whether its work is to end.
pub(crate) const PATIENCE: Duration = Duration::from_millis(10);

/// How long whoever ends a machine waits for a thread that is in the host's kernel, before the machine ends without it.
pub(crate) const DEADLINE: Duration = Duration::from_millis(50);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static OVER: Cell<bool> = const { Cell::new(false) };
}

/// The user interrupts: this ends every vCPU that is kicked or started from now on. Returns whether it was so before.
pub(crate) fn interrupt() -> bool {
    INTERRUPTED.swap(true, Ordering::Relaxed)
}

/// Whether the user interrupted.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The time of this thread's vCPU is over, or no longer so.
pub(crate) fn set_over(over: bool) {
    OVER.set(over);
}

/// Whether the time of this thread's vCPU is over.
pub(crate) fn over() -> bool {
    OVER.get()
}

/// Whether this thread's vCPU is to run no more, for either reason.
pub(crate) fn vcpu_stops() -> bool {
    interrupted() || over()
}

/// Asks a device's thread to leave what it does: between descriptor chains, and between pieces of a long one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks.
    pub(crate) fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// The thread has left it.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether somebody asks.
    #[must_use]
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
