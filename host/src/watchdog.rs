//! What stops a running vCPU: a timer for the timeout, and Ctrl-C.
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
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
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

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs; null outside of a run.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    static TIMED_OUT: Cell<bool> = const { Cell::new(false) };
}

extern "C" fn on_signal(signal: libc::c_int) {
    // Thread-locals without destructor and lazy initialisation, and atomics: nothing here is unsafe in a handler.
    if signal == timer_signal() {
        TIMED_OUT.set(true);
    } else {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let immediate_exit = IMMEDIATE_EXIT.get();
    if !immediate_exit.is_null() {
        // SAFETY: the pointer is into the kvm_run page of the vCPU that this thread is running, which outlives
        // the watchdog that set it and clears it.
        unsafe { immediate_exit.write_volatile(1) };
    }
}

/// Watches the vCPU that this thread runs, until dropped.
#[derive(Debug)]
pub struct Watchdog {
    timer: libc::timer_t,
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
        let timer = create_timer()?;
        let watchdog = Watchdog { timer };
        // SAFETY: the timer was just created; the struct is plain data.
        let set = unsafe {
            let mut spec: libc::itimerspec = mem::zeroed();
            spec.it_value.tv_sec = timeout.as_secs() as libc::time_t;
            // A zero would disarm the timer.
            spec.it_value.tv_nsec = libc::c_long::from(timeout.subsec_nanos().max(1));
            libc::timer_settime(watchdog.timer, 0, &raw const spec, ptr::null_mut())
        };
        check("timer_settime", set)?;
        Ok(watchdog)
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
        // SAFETY: the timer is ours and is not used again.
        unsafe { libc::timer_delete(self.timer) };
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

fn create_timer() -> Result<libc::timer_t> {
    // SAFETY: both structs are plain data; SIGEV_THREAD_ID names this very thread.
    unsafe {
        let mut event: libc::sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = timer_signal();
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer = ptr::null_mut();
        let result = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        check("timer_create", result).map(|()| timer)
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
