//! Threads of the runner: their start, what takes them out of a system call, their end.
//!
//! unsafe lives here because signals to threads have no safe interface.
#![allow(unsafe_code)]

use super::signals;
use super::stop::LEAVE_BEHIND;
use crate::error::{Error, Result};
use std::os::unix::thread::JoinHandleExt;
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
    signals::install(wake_signal(), nothing)
}

/// Lets the calling thread be woken.
pub(crate) fn wakeable() {
    signals::unblock(wake_signal());
}

/// Takes a wakeable thread out of the system call that it waits in.
pub(crate) fn wake<T>(thread: &JoinHandle<T>) {
    send(thread, wake_signal());
}

/// Sends a signal to a thread.
pub(crate) fn send<T>(thread: &JoinHandle<T>, signal: libc::c_int) {
    // SAFETY: the thread has not been joined: whoever does that has taken the handle.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), signal) };
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
