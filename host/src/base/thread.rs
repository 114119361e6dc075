//! Threads of the runner.

use crate::error::{Error, Result};
use std::thread::{Builder, JoinHandle};

/// Enough for everything a thread of ours does, and small enough for a thousand machines in one process.
const STACK: usize = 256 << 10;

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
