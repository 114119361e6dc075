//! Threads of the runner: their start, what takes them out of a system call, their end.
//!
//! unsafe lives here because signals to threads have no safe interface.
#![allow(unsafe_code)]

use super::signals::unblock;
use super::stop::LEAVE_BEHIND;
use crate::error::{Error, Result};
use std::io;
use std::mem;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Enough for everything a thread of ours does, and small enough for a thousand machines in one process.
const STACK: usize = 256 << 10;

/// How long to wait between two looks at a thread that is to end.
const PAUSE: Duration = Duration::from_millis(1);

/// Starts a thread with this name, which is seen in /proc/self/task.
///
/// # Errors
/// [`Error::System`].
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let thread = Builder::new().name(name).stack_size(STACK).spawn(run);
    thread.map_err(|error| Error::System {
        call: "clone",
        error,
    })
}

/// The signal that does nothing but make a blocking system call return.
fn wake_signal() -> libc::c_int {
    libc::SIGRTMIN() + 3
}

/// Lets threads be woken that call [`wakeable`]. To be called before they are started.
///
/// # Errors
/// [`Error::System`].
pub(crate) fn install_wake() -> Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: the struct is plain data; the handler does nothing. No SA_RESTART: the call has to return.
    let result = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(wake_signal(), &raw const action, ptr::null_mut())
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::System {
        call: "sigaction",
        error: io::Error::last_os_error(),
    })
}

/// Lets the calling thread be woken.
pub(crate) fn wakeable() {
    unblock(wake_signal());
}

/// Takes a wakeable thread out of the system call that it waits in.
pub(crate) fn wake<T>(thread: &JoinHandle<T>) {
    // SAFETY: the thread has not been joined: whoever does that has taken the handle.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), wake_signal()) };
}

/// Joins a thread that is to end, and calls `urge` until it does. A thread that stays in the host's kernel is left behind:
/// it keeps what it uses, and ends with the process at the latest.
pub(crate) fn join(thread: JoinHandle<()>, urge: impl Fn(&JoinHandle<()>)) {
    let start = Instant::now();
    while !thread.is_finished() {
        if start.elapsed() > LEAVE_BEHIND {
            return;
        }
        urge(&thread);
        sleep(PAUSE);
    }
    let _ = thread.join();
}
