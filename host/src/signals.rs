//! Signals that are read from a descriptor, instead of interrupting whatever runs.
//!
//! unsafe lives here because signal masks have no safe interface.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::FromRawFd;
use std::ptr;

/// Signals that this thread, and those that it starts from now on, leave to a descriptor.
#[derive(Debug)]
pub(crate) struct Signals {
    file: File,
    before: libc::sigset_t,
}

impl Signals {
    /// Takes these.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn take(signals: &[libc::c_int]) -> Result<Self> {
        // SAFETY: sets are plain data, filled before they are read; the descriptor is new and owned at once.
        unsafe {
            let (mut set, mut before): (libc::sigset_t, libc::sigset_t) =
                (mem::zeroed(), mem::zeroed());
            libc::sigemptyset(&raw mut set);
            for &signal in signals {
                libc::sigaddset(&raw mut set, signal);
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(Error::System {
                    call: "signalfd",
                    error: io::Error::last_os_error(),
                });
            }
            let file = File::from_raw_fd(fd);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            Ok(Signals { file, before })
        }
    }

    /// What becomes readable.
    pub(crate) fn descriptor(&self) -> &File {
        &self.file
    }

    /// Whether any has come since the last call.
    pub(crate) fn heard(&self) -> bool {
        let mut signal = [0; mem::size_of::<libc::signalfd_siginfo>()];
        let mut heard = false;
        while matches!((&self.file).read(&mut signal), Ok(1..)) {
            heard = true;
        }
        heard
    }

    /// Gives them back to this thread, which is the one that took them.
    pub(crate) fn give_back(&self) {
        // SAFETY: the set was filled by the call in `take`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut());
        }
    }
}
