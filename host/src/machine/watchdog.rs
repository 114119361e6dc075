//! What stops the first vCPU from outside: the timeout, SIGINT and SIGTERM, and, for a trace, the samples' timer.

use super::signals::{self, Running, install, sample_signal, timeout_signal};
use super::timer::Timer;
use crate::error::Result;
use crate::report::Stop;
use kvm_ioctls::VcpuFd;
use std::time::{Duration, Instant};

/// How often to look whether the guest has halted for good: KVM does not tell. A boot is over before the first time.
const LOOK: Duration = Duration::from_millis(100);

/// Watches the vCPU that this thread runs, until dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    _running: Running,
    /// Fires at the next look, or at the deadline if that is earlier.
    timer: Timer,
    deadline: Instant,
    look: bool,
    sampling: Option<(Timer, Duration)>,
}

impl Watchdog {
    /// Arms the timeout and takes SIGINT and SIGTERM, for a vCPU that must outlive the watchdog.
    ///
    /// With `sampling`, a period, makes the timer that [`Watchdog::next_sample`] arms.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn start(
        vcpu: &mut VcpuFd,
        timeout: Duration,
        sampling: Option<Duration>,
    ) -> Result<Self> {
        signals::reset();
        let running = Running::new(vcpu);
        for signal in [timeout_signal(), libc::SIGINT, libc::SIGTERM] {
            install(signal)?;
        }
        let sampling = match sampling {
            Some(period) => {
                install(sample_signal())?;
                Some((Timer::new(sample_signal())?, period))
            }
            None => None,
        };
        let watchdog = Watchdog {
            _running: running,
            timer: Timer::new(timeout_signal())?,
            deadline: Instant::now() + timeout,
            look: false,
            sampling,
        };
        watchdog.timer.arm(timeout.min(LOOK))?;
        // A signal that came before this thread ran a vCPU found no `immediate_exit` to set.
        if signals::interrupted() {
            signals::set_immediate_exit(true);
        }
        Ok(watchdog)
    }

    /// Does work that is not to count against the timeout.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn suspended(&mut self, work: impl FnOnce()) -> Result<()> {
        let left = self.timer.disarm()?;
        let began = Instant::now();
        work();
        self.deadline += began.elapsed();
        self.timer.arm(left)
    }

    /// Lets the vCPU run again. Call it before looking for what interrupted the vCPU, since a signal that comes in
    /// between interrupts it again.
    pub(super) fn resume(&self) {
        signals::set_immediate_exit(false);
    }

    /// Whether a sample is due.
    pub(super) fn sample_due(&self) -> bool {
        signals::take_sample()
    }

    /// Arms the samples' timer. It fires once, so that taking a sample does not count as the guest's time.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn next_sample(&self) -> Result<()> {
        match &self.sampling {
            Some((timer, period)) => timer.arm(*period),
            None => Ok(()),
        }
    }

    /// Why KVM_RUN was interrupted, if to stop the guest.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn stopped(&mut self) -> Result<Option<Stop>> {
        if signals::interrupted() {
            return Ok(Some(Stop::Interrupted));
        }
        if !signals::take_time() {
            return Ok(None);
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Some(Stop::TimedOut));
        }
        self.look = true;
        self.timer.arm(left.min(LOOK)).map(|()| None)
    }

    /// Whether it is time to look if the guest has halted.
    pub(super) fn take_look(&mut self) -> bool {
        std::mem::take(&mut self.look)
    }
}
