//! Where the run's time goes: marks on the monotonic clock, in microseconds since the process started.

/// Marks of one run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: f64,
}

/// By libc, which has found the vDSO already: rustix would look for it first, by a system call.
#[allow(unsafe_code)]
fn microseconds(clock: libc::clockid_t) -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is ours. It fails only for a clock that does not exist.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn now() -> Self {
        Clock {
            start: microseconds(libc::CLOCK_MONOTONIC),
        }
    }

    /// A clock that started with this process. Call it early, while all the time that has passed was processor time of
    /// this process: there is no finer record of its start.
    #[must_use]
    pub fn since_process_start() -> Self {
        let before = microseconds(libc::CLOCK_PROCESS_CPUTIME_ID);
        Clock {
            start: microseconds(libc::CLOCK_MONOTONIC) - before,
        }
    }

    /// A clock that leaves out what passed since this one read `mark`.
    #[must_use]
    pub fn without(&self, mark: f64) -> Self {
        Clock {
            start: self.start + self.elapsed() - mark,
        }
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn elapsed(&self) -> f64 {
        microseconds(libc::CLOCK_MONOTONIC) - self.start
    }
}
