//! What stops the first vCPU from outside: the timeout, the signals of a user, and, for a trace, the samples' timer.

use super::signals::{self, ENDING, Running, install, sample_signal, timeout_signal};
use super::timer::Timer;
use crate::base::stop::{self, PATIENCE};
use crate::error::Result;
use crate::report::Stop;
use kvm_ioctls::VcpuFd;
use std::time::Duration;

/// When to look first whether the guest has halted for good, which KVM does not tell: a boot is over before that. Each look
/// comes after twice the time of the one before, so that a guest that lives long is left alone.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Watches the vCPU that this thread runs, until dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    // Dropped first: signals must not find a timer that is gone.
    running: Running,
    /// Fires at the next look, or at the deadline if that is earlier.
    timer: Timer,
    /// How long until the next look, and whether one is due.
    look_after: Duration,
    look: bool,
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
            timer: Timer::new(timeout_signal())?,
            look_after: FIRST_LOOK,
            look: false,
            sampling,
            running,
        };
        stop::set_left(timeout);
        watchdog.running.hurry(&watchdog.timer);
        watchdog.arm()?;
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
        self.timer.disarm()?;
        let left = stop::left();
        work();
        stop::set_left(left);
        self.arm()
    }

    /// Arms the timer for the next look. It goes on sending signals after that: the first might come just before the thread
    /// blocks.
    fn arm(&self) -> Result<()> {
        let next = stop::left().min(self.look_after);
        self.timer.arm_repeated(next, PATIENCE)
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
        if stop::interrupted() {
            return Ok(Some(Stop::Interrupted));
        }
        if stop::over() {
            return Ok(Some(Stop::TimedOut));
        }
        if stop::take_tick() {
            self.look = true;
            self.look_after = (2 * self.look_after).min(LAST_LOOK);
            self.arm()?;
        }
        Ok(None)
    }

    /// Whether it is time to look if the guest has halted.
    pub(super) fn take_look(&mut self) -> bool {
        std::mem::take(&mut self.look)
    }
}
