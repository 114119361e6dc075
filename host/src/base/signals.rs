//! Signals of the process: handlers, which thread takes them, and reading them from a descriptor.
//!
//! unsafe lives here because signal handlers and masks have no safe interface.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd};
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::FromRawFd;
use std::ptr;

/// The set of these signals.
fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: a set is plain data, filled before it is read.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Changes the calling thread's mask; returns the mask before.
fn mask(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    // SAFETY: a set is plain data, filled before it is read; the call fails only for a bad `how`.
    unsafe {
        let mut before: libc::sigset_t = mem::zeroed();
        libc::pthread_sigmask(how, set, &raw mut before);
        before
    }
}

/// Has a signal call this handler, and end the system call that it interrupts: there is no SA_RESTART. The handler must be
/// async-signal-safe (signal-safety(7)).
///
/// # Errors
/// [`Error::System`].
pub(crate) fn install(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> Result<()> {
    // SAFETY: the struct is plain data, and the handler may be called at any time, as said above.
    let result = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as usize;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::System {
        call: "sigaction",
        error: io::Error::last_os_error(),
    })
}

/// Lets a signal through to the calling thread.
pub(crate) fn unblock(signal: libc::c_int) {
    mask(libc::SIG_UNBLOCK, &set_of(&[signal]));
}

/// All signals blocked, until dropped: threads that are started meanwhile inherit that, so that each signal goes to a
/// vCPU's thread, which it has to interrupt.
#[derive(Debug)]
pub(crate) struct AllBlocked(libc::sigset_t);

impl AllBlocked {
    pub(crate) fn new() -> Self {
        // SAFETY: a set is plain data, filled before it is read.
        let all = unsafe {
            let mut all: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&raw mut all);
            all
        };
        AllBlocked(mask(libc::SIG_SETMASK, &all))
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        mask(libc::SIG_SETMASK, &self.0);
    }
}

/// Signals that are read from a descriptor: the calling thread, and those that it starts from then on, have them blocked.
#[derive(Debug)]
pub(crate) struct SignalFd {
    file: File,
    before: libc::sigset_t,
}

impl SignalFd {
    /// Blocks these signals and opens a descriptor for them.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn new(signals: &[libc::c_int]) -> Result<Self> {
        let set = set_of(signals);
        // SAFETY: the set is valid, and a descriptor that the call returns is new.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(Error::System {
                call: "signalfd",
                error: io::Error::last_os_error(),
            });
        }
        Ok(SignalFd {
            // SAFETY: the descriptor is new, and owned by nobody else.
            file: unsafe { File::from_raw_fd(fd) },
            before: mask(libc::SIG_BLOCK, &set),
        })
    }

    /// Reads all pending signals; true if there were any.
    pub(crate) fn take(&self) -> bool {
        let mut signal = [0; mem::size_of::<libc::signalfd_siginfo>()];
        let mut any = false;
        while matches!((&self.file).read(&mut signal), Ok(1..)) {
            any = true;
        }
        any
    }

    /// Restores the mask before, in the thread that made this.
    pub(crate) fn restore(&self) {
        // SAFETY: the set was filled when this was made.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
