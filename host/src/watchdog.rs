//! What stops a running vCPU: a timer for the timeout, Ctrl-C, and, for a trace, a timer for its samples.
//!
//! A signal makes KVM_RUN return, but one that arrives just before the call would be lost; so the handler also
//! sets `immediate_exit` in the vCPU's shared page, which KVM looks at after it has blocked signals.
//!
//! unsafe lives here because signal handlers and POSIX timers have no safe interface.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use kvm_ioctls::VcpuFd;
use std::cell::Cell;
use std::io;
use std::mem;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Why a vCPU was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time was up.
    TimedOut,
    /// The user interrupted the runner.
    Interrupted,
}

/// The signal of the timer: a real-time one, which nothing else uses.
fn timer_signal() -> libc::c_int {
    libc::SIGRTMIN()
}

/// The signal of the samples' timer.
fn sample_signal() -> libc::c_int {
    libc::SIGRTMIN() + 1
}

/// The signal by which threads of vCPUs interrupt each other.
fn kick_signal() -> libc::c_int {
    libc::SIGRTMIN() + 2
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs; null outside of a run.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    static TIMED_OUT: Cell<bool> = const { Cell::new(false) };
    static SAMPLE: Cell<bool> = const { Cell::new(false) };
}

/// The user interrupts: that is what ends every vCPU that is kicked or started from now on.
pub(crate) fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

extern "C" fn on_signal(signal: libc::c_int) {
    // Thread-locals without destructor and lazy initialisation, and atomics: nothing here is unsafe in a handler.
    if signal == timer_signal() {
        TIMED_OUT.set(true);
    } else if signal == sample_signal() {
        SAMPLE.set(true);
    } else if signal == kick_signal() {
        // What it is for is found where the vCPU's thread looks next.
    } else {
        interrupt();
    }
    let immediate_exit = IMMEDIATE_EXIT.get();
    if !immediate_exit.is_null() {
        // SAFETY: the pointer is into the kvm_run page of the vCPU that this thread is running, which outlives
        // the watchdog that set it and clears it.
        unsafe { immediate_exit.write_volatile(1) };
    }
}

/// A thread that runs a vCPU, to be interrupted.
#[derive(Debug)]
pub(crate) struct Kick(libc::pthread_t);

impl Kick {
    /// The calling thread, which must outlive this.
    pub(crate) fn to_this_thread() -> Result<Self> {
        Self::expect()?;
        // SAFETY: touches no memory.
        Ok(Kick(unsafe { libc::pthread_self() }))
    }

    /// Has the signal interrupt a thread, where it would else end the process.
    pub(crate) fn expect() -> Result<()> {
        install(kick_signal())
    }

    /// A thread that was not joined yet.
    pub(crate) fn to<T>(thread: &JoinHandle<T>) -> Self {
        Kick(thread.as_pthread_t())
    }

    /// Has `KVM_RUN` return, or the next one.
    pub(crate) fn kick(&self) {
        // SAFETY: the thread is there: whoever holds this outlives neither the first vCPU's nor an unjoined one.
        unsafe { libc::pthread_kill(self.0, kick_signal()) };
    }
}

/// Makes the calling thread one whose vCPU a [`Kick`] interrupts, until dropped; the vCPU must outlive it.
#[derive(Debug)]
pub(crate) struct Kickable(());

impl Kickable {
    pub(crate) fn new(vcpu: &mut VcpuFd) -> Self {
        IMMEDIATE_EXIT.set(&raw mut vcpu.get_kvm_run().immediate_exit);
        // SAFETY: the set is plain data, filled before it is read. Other signals stay blocked in this thread.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, kick_signal());
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        }
        Kickable(())
    }
}

impl Drop for Kickable {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}

/// Watches the vCPU that this thread runs, until dropped.
#[derive(Debug)]
pub struct Watchdog {
    timer: Timer,
    sampling: Option<(Timer, Duration)>,
}

impl Watchdog {
    /// Arms the timeout and takes SIGINT and SIGTERM, for a vCPU that must outlive the watchdog.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn start(vcpu: &mut VcpuFd, timeout: Duration) -> Result<Self> {
        TIMED_OUT.set(false);
        IMMEDIATE_EXIT.set(&raw mut vcpu.get_kvm_run().immediate_exit);
        for signal in [timer_signal(), libc::SIGINT, libc::SIGTERM] {
            install(signal)?;
        }
        let watchdog = Watchdog {
            timer: Timer::new(timer_signal())?,
            sampling: None,
        };
        watchdog.timer.arm(timeout)?;
        // The user may have been quicker than the start of this vCPU's thread, which then has had its kick.
        if INTERRUPTED.load(Ordering::Relaxed) {
            on_signal(kick_signal());
        }
        Ok(watchdog)
    }

    /// Does what is not to count as the guest's time.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn aside(&self, work: impl FnOnce()) -> Result<()> {
        let left = self.timer.set(Duration::ZERO)?;
        work();
        self.timer.arm(left)
    }

    /// Interrupts the vCPU after this period, and again as long after each [`Watchdog::next_sample`].
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn sample_every(&mut self, period: Duration) -> Result<()> {
        SAMPLE.set(false);
        install(sample_signal())?;
        self.sampling = Some((Timer::new(sample_signal())?, period));
        self.next_sample()
    }

    /// Lets the vCPU run again; to be called before what interrupted it is looked for, since a signal that comes
    /// between sets this again.
    pub fn resume(&self) {
        let immediate_exit = IMMEDIATE_EXIT.get();
        if !immediate_exit.is_null() {
            // SAFETY: as in the handler.
            unsafe { immediate_exit.write_volatile(0) };
        }
    }

    /// Whether a sample is due.
    pub fn sample_due(&self) -> bool {
        SAMPLE.take()
    }

    /// Winds the samples' timer up again: what taking a sample took is none of the guest's time.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn next_sample(&self) -> Result<()> {
        match &self.sampling {
            Some((timer, period)) => timer.arm(*period),
            None => Ok(()),
        }
    }

    /// Why KVM_RUN was interrupted, if by this watchdog.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        if INTERRUPTED.load(Ordering::Relaxed) {
            Some(Stop::Interrupted)
        } else {
            TIMED_OUT.get().then_some(Stop::TimedOut)
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}

fn install(signal: libc::c_int) -> Result<()> {
    // SAFETY: the struct is plain data; the handler is async-signal-safe. No SA_RESTART: KVM_RUN has to return.
    let result = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    check("sigaction", result)
}

/// A timer that sends this thread a signal.
#[derive(Debug)]
struct Timer(libc::timer_t);

impl Timer {
    fn new(signal: libc::c_int) -> Result<Self> {
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
    fn arm(&self, after: Duration) -> Result<()> {
        self.set(after.max(Duration::from_nanos(1))).map(|_| ())
    }

    /// Sends the signal once, after this time, or never for none; gives what was left of the time before.
    fn set(&self, after: Duration) -> Result<Duration> {
        // SAFETY: the timer is ours; the structs are plain data.
        unsafe {
            let (mut spec, mut old): (libc::itimerspec, libc::itimerspec) =
                (mem::zeroed(), mem::zeroed());
            spec.it_value.tv_sec = after.as_secs() as libc::time_t;
            spec.it_value.tv_nsec = libc::c_long::from(after.subsec_nanos());
            let set = libc::timer_settime(self.0, 0, &raw const spec, &raw mut old);
            check("timer_settime", set)?;
            let left = old.it_value;
            Ok(Duration::new(left.tv_sec as u64, left.tv_nsec as u32))
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and is not used again.
        unsafe { libc::timer_delete(self.0) };
    }
}

fn check(call: &'static str, result: libc::c_int) -> Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(Error::System {
            call,
            error: io::Error::last_os_error(),
        })
    }
}
