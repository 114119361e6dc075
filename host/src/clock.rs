//! Where the run's time goes: marks on the monotonic clock, in microseconds since the process started.

use rustix::time::{ClockId, clock_gettime};

/// Marks of one run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: f64,
}

fn microseconds(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn now() -> Self {
        Clock {
            start: microseconds(ClockId::Monotonic),
        }
    }

    /// A clock that started with this process: to be asked for early, while all the time that has passed was
    /// processor time of ours (there is no finer record of a process's start).
    #[must_use]
    pub fn since_process_start() -> Self {
        let before = microseconds(ClockId::ProcessCPUTime);
        Clock {
            start: microseconds(ClockId::Monotonic) - before,
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
        microseconds(ClockId::Monotonic) - self.start
    }
}
