//! Who wants work to end: the user all machines, a timeout one vCPU's thread, a driver or a machine's end a device's.

use rustix::event::Timespec;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a thread waits for something before it looks again whether its work is to end.
pub(crate) const PATIENCE: Duration = Duration::from_millis(10);

/// The same, as poll(2) takes it.
pub(crate) const POLL_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// How long whoever ends a machine waits for a thread that is in the host's kernel, before the machine ends without it.
pub(crate) const LEAVE_BEHIND: Duration = Duration::from_millis(50);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// When the time of this thread's vCPU is over; a thread without a deadline is told when.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
    static OVER: Cell<bool> = const { Cell::new(false) };
    static TICK: Cell<bool> = const { Cell::new(false) };
}

/// The user interrupts: this ends every vCPU that is kicked or started from now on. Returns whether it was so before.
pub(crate) fn interrupt() -> bool {
    INTERRUPTED.swap(true, Ordering::Relaxed)
}

/// Whether the user interrupted.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Forgets what an earlier run in this thread has left.
pub(crate) fn reset() {
    DEADLINE.set(None);
    OVER.set(false);
    TICK.set(false);
}

/// Sets how much time this thread's vCPU has left.
pub(crate) fn set_left(left: Duration) {
    DEADLINE.set(Some(Instant::now() + left));
}

/// How much time it has left; none without a deadline.
pub(crate) fn left() -> Duration {
    let deadline = DEADLINE.get();
    deadline.map_or(Duration::ZERO, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    })
}

/// The timeout's signal has come. This is called in its handler, and reads the clock, which a handler may.
pub(crate) fn tick() {
    if DEADLINE
        .get()
        .is_none_or(|deadline| Instant::now() >= deadline)
    {
        OVER.set(true);
    } else {
        TICK.set(true);
    }
}

/// Whether a signal of the timeout has come before the deadline, since the last call.
pub(crate) fn take_tick() -> bool {
    TICK.take()
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
