//! POSIX timers that send the calling thread a signal.
//!
//! unsafe lives here because POSIX timers have no safe interface.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use std::io;
use std::mem;
use std::ptr;
use std::time::Duration;

/// The shortest time that arms a timer: zero disarms it.
const SOON: Duration = Duration::from_nanos(1);

/// Has a timer send its signal at once, and then at this interval. A signal handler may call this (signal-safety(7)).
pub(super) fn hurry(timer: libc::timer_t, interval: Duration) {
    let spec = libc::itimerspec {
        it_value: timespec(SOON),
        it_interval: timespec(interval),
    };
    // SAFETY: the timer has not been deleted: whoever deletes it takes it from the handler first.
    unsafe { libc::timer_settime(timer, 0, &raw const spec, ptr::null_mut()) };
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos()),
    }
}

/// A timer that sends the thread that made it a signal.
#[derive(Debug)]
pub(super) struct Timer(libc::timer_t);

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(super) fn new(signal: libc::c_int) -> Result<Self> {
        // SAFETY: both structs are plain data; SIGEV_THREAD_ID names this very thread.
        unsafe {
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = ptr::null_mut();
            let result = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
            check("timer_create", result).map(|()| Timer(timer))
        }
    }

    /// Sends the signal once, after this time.
    pub(super) fn arm(&self, after: Duration) -> Result<()> {
        self.set(after.max(SOON), Duration::ZERO)
    }

    /// Sends the signal after this time, and then at this interval.
    pub(super) fn arm_repeated(&self, after: Duration, interval: Duration) -> Result<()> {
        self.set(after.max(SOON), interval)
    }

    /// Disarms the timer.
    pub(super) fn disarm(&self) -> Result<()> {
        self.set(Duration::ZERO, Duration::ZERO)
    }

    /// The timer as the kernel knows it, for a signal handler.
    pub(super) fn id(&self) -> libc::timer_t {
        self.0
    }

    fn set(&self, after: Duration, interval: Duration) -> Result<()> {
        let spec = libc::itimerspec {
            it_value: timespec(after),
            it_interval: timespec(interval),
        };
        // SAFETY: the timer is ours; the struct is plain data.
        let set = unsafe { libc::timer_settime(self.0, 0, &raw const spec, ptr::null_mut()) };
        check("timer_settime", set)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and is not used again.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Turns a result of 0 or -1 with errno into ours.
fn check(call: &'static str, result: libc::c_int) -> Result<()> {
    if result == 0 {
        return Ok(());
    }
    Err(Error::System {
        call,
        error: io::Error::last_os_error(),
    })
}
