//! What stops the first vCPU from outside: the timeout, the signals of a user, and, for a trace, the samples' timer.

use super::signals::{self, ENDING, Running, install, sample_signal, timeout_signal};
use super::timer::Timer;
use crate::base::stop::{self, PATIENCE};
use crate::error::Result;
use crate::report::Stop;
use kvm_ioctls::VcpuFd;
use std::time::Duration;

/// Watches the vCPU that this thread runs, until dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    // Dropped first: signals must not find a timer that is gone.
    running: Running,
    timeout: Timer,
    sampling: Option<(Timer, Duration)>,
}

impl Watchdog {
    /// Arms the timeout and takes the signals of a user, for a vCPU that must outlive the watchdog.
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
        for signal in ENDING.into_iter().chain([timeout_signal()]) {
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
            timeout: Timer::new(timeout_signal())?,
            sampling,
            running,
        };
        watchdog.running.hurry(&watchdog.timeout);
        watchdog.arm(timeout)?;
        // A signal that came before this thread ran a vCPU found no `immediate_exit` to set.
        if stop::interrupted() {
            signals::set_immediate_exit(true);
        }
        Ok(watchdog)
    }

    /// Does work that is not to count against the timeout.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn suspended(&self, work: impl FnOnce()) -> Result<()> {
        let left = self.timeout.disarm()?;
        work();
        self.arm(left)
    }

    /// Arms the timeout. It goes on sending signals once it is over: the first might come just before the thread blocks.
    fn arm(&self, timeout: Duration) -> Result<()> {
        self.timeout.arm_repeated(timeout, PATIENCE)
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
    pub(super) fn stopped(&self) -> Option<Stop> {
        if stop::interrupted() {
            Some(Stop::Interrupted)
        } else {
            stop::over().then_some(Stop::TimedOut)
        }
    }
}
