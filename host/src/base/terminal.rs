//! The terminal that a guest's console is shown on: raw while the guest has it, restored afterwards.
//!
//! unsafe lives here because signals have no safe interface.
#![allow(unsafe_code)]

use super::lock::lock;
use rustix::fd::OwnedFd;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::sync::Mutex;

/// The terminal's settings from before it was made raw. They are static for the panic hook: a panic does not unwind here.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// A terminal in raw mode, until this is dropped or a thread panics.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal raw, so that the guest gets every key. `None` if it is no terminal.
    #[must_use]
    pub fn enter(terminal: &OwnedFd) -> Option<Self> {
        if !isatty(terminal) {
            return None;
        }
        let before = tcgetattr(terminal).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        let copy = terminal.try_clone().ok()?;
        // The guest's tty translates newlines for this terminal.
        tcsetattr(terminal, OptionalActions::Now, &raw).ok()?;
        *lock(&BEFORE) = Some((copy, before));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            hook(panic);
        }));
        Some(RawMode(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some((terminal, before)) = lock(&BEFORE).take() {
        // It fails for a terminal that is gone.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

/// Restores the terminal in a signal handler that ends the process: it does not wait for whoever restores it already.
pub(crate) fn restore_at_exit() {
    if let Ok(mut before) = BEFORE.try_lock()
        && let Some((terminal, settings)) = before.as_mut()
    {
        let _ = tcsetattr(terminal, OptionalActions::Now, settings);
    }
}

/// Ends the run as SIGTERM from outside would: by a signal to the process's first thread.
pub(crate) fn quit() {
    // SAFETY: touches no memory.
    unsafe {
        let process = libc::getpid();
        libc::syscall(libc::SYS_tgkill, process, process, libc::SIGTERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    #[test]
    fn a_terminal_is_as_it_was() {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&pty).unwrap();
        unlockpt(&pty).unwrap();
        let name = ptsname(&pty, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let terminal = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).unwrap();
        let canonical = || {
            let modes = tcgetattr(&terminal).unwrap().local_modes;
            modes.contains(LocalModes::ICANON | LocalModes::ECHO)
        };
        assert!(canonical());
        let raw = RawMode::enter(&terminal);
        assert!(raw.is_some() && !canonical());
        drop(raw);
        assert!(canonical());
        let (pipe, _other) = std::io::pipe().unwrap();
        assert!(RawMode::enter(&pipe.into()).is_none());
    }
}
