//! The signals that make KVM_RUN return.
//!
//! One that arrives just before the call would be lost; so the handler also sets `immediate_exit` in the vCPU's shared
//! page, which KVM looks at after it has blocked signals.
//!
//! unsafe lives here because signal handlers have no safe interface.
#![allow(unsafe_code)]

use super::timer::{self, Timer};
use crate::base::stop::{self, PATIENCE};
use crate::base::{self, terminal, thread};
use crate::error::Result;
use kvm_ioctls::VcpuFd;
use std::cell::Cell;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::JoinHandle;

/// The timeout's signal: a real-time one, which nothing else uses.
pub(super) fn timeout_signal() -> libc::c_int {
    libc::SIGRTMIN()
}

/// The signal of a trace's samples.
pub(super) fn sample_signal() -> libc::c_int {
    libc::SIGRTMIN() + 1
}

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs; null outside of a run.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    /// The timer of the timeout of the vCPU that this thread runs; null outside of a run.
    static TIMEOUT: Cell<libc::timer_t> = const { Cell::new(ptr::null_mut()) };
    static SAMPLE: Cell<bool> = const { Cell::new(false) };
}

/// The signals by which a user ends a run.
pub(crate) const ENDING: [libc::c_int; 4] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Whether a sample's signal has reached this thread since the last call.
pub(super) fn take_sample() -> bool {
    SAMPLE.take()
}

/// Forgets what signals of an earlier run have left.
pub(super) fn reset() {
    stop::reset();
    SAMPLE.set(false);
}

/// Has the next KVM_RUN of this thread return at once, or do so no longer.
pub(super) fn set_immediate_exit(value: bool) {
    let immediate_exit = IMMEDIATE_EXIT.get();
    if !immediate_exit.is_null() {
        // SAFETY: the pointer is into the kvm_run page of the vCPU that this thread is running, which outlives the
        // `Running` that set it and clears it.
        unsafe { immediate_exit.write_volatile(value.into()) };
    }
}

/// The user wants an end. This thread may be about to block: its timer sends it further signals. Who asks twice does not
/// want to wait.
fn end(signal: libc::c_int) {
    if stop::interrupt() {
        terminal::restore_at_exit();
        // SAFETY: ends the process.
        unsafe { libc::_exit(128 + signal) };
    }
    let timer = TIMEOUT.get();
    if !timer.is_null() {
        timer::hurry(timer, PATIENCE);
    }
}

extern "C" fn on_signal(signal: libc::c_int) {
    // Thread-locals without destructor and lazy initialisation, and atomics: nothing here is unsafe in a handler.
    if signal == timeout_signal() {
        stop::tick();
    } else if signal == sample_signal() {
        SAMPLE.set(true);
    } else if signal != Kick::signal() {
        // One of `ENDING`. What a kick is for is found where the vCPU's thread looks next.
        end(signal);
    }
    set_immediate_exit(true);
}

/// Installs the handler for a signal.
///
/// # Errors
/// [`crate::Error::System`].
pub(super) fn install(signal: libc::c_int) -> Result<()> {
    base::signals::install(signal, on_signal)
}

/// While this lives, signals make KVM_RUN of this vCPU return in the calling thread; the vCPU must outlive it.
#[derive(Debug)]
pub(super) struct Running(());

impl Running {
    pub(super) fn new(vcpu: &mut VcpuFd) -> Self {
        IMMEDIATE_EXIT.set(&raw mut vcpu.get_kvm_run().immediate_exit);
        Running(())
    }

    /// Has the user's signals hurry this timer, which must outlive this, too.
    pub(super) fn hurry(&self, timeout: &Timer) {
        TIMEOUT.set(timeout.id());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        TIMEOUT.set(ptr::null_mut());
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}

/// Tells the thread of a vCPU that its time is over.
pub(super) fn end_vcpu(thread: &JoinHandle<()>) {
    thread::send(thread, timeout_signal());
}

/// A thread that runs a vCPU, to be interrupted by another thread.
#[derive(Debug)]
pub(crate) struct Kick(libc::pthread_t);

impl Kick {
    /// The signal that a kick is.
    pub(super) fn signal() -> libc::c_int {
        libc::SIGRTMIN() + 2
    }

    /// Installs the signal's handler: without one, a kick ends the process.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(crate) fn install() -> Result<()> {
        install(Self::signal())
    }

    /// The calling thread, which must outlive this.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn to_this_thread() -> Result<Self> {
        Self::install()?;
        // SAFETY: touches no memory.
        Ok(Kick(unsafe { libc::pthread_self() }))
    }

    /// A thread that has not been joined yet.
    pub(crate) fn to<T>(thread: &JoinHandle<T>) -> Self {
        Kick(thread.as_pthread_t())
    }

    /// Has KVM_RUN return, or the next one.
    pub(crate) fn kick(&self) {
        // SAFETY: the thread is there: whoever holds this outlives neither the first vCPU's nor an unjoined one.
        unsafe { libc::pthread_kill(self.0, Self::signal()) };
    }
}
