//! The terminal that a guest's console is shown on: raw while the guest has it, as it was afterwards.
//!
//! unsafe lives here because signals have no safe interface.
#![allow(unsafe_code)]

use rustix::fd::OwnedFd;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::sync::{Mutex, PoisonError};

/// What a terminal was like before it was made raw; for the panic hook too, since a panic unwinds nothing here.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// A terminal in raw mode, until dropped or until a panic.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Makes the terminal raw: every key is the guest's. `None` if it is no terminal.
    #[must_use]
    pub fn enter(terminal: &OwnedFd) -> Option<Self> {
        if !isatty(terminal) {
            return None;
        }
        let before = tcgetattr(terminal).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        let copy = terminal.try_clone().ok()?;
        // The guest's own terminal turns its newlines into what this one wants.
        tcsetattr(terminal, OptionalActions::Now, &raw).ok()?;
        *lock() = Some((copy, before));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            hook(panic);
        }));
        Some(Raw(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<(OwnedFd, Termios)>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn restore() {
    if let Some((terminal, before)) = lock().take() {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

/// Ends the run as SIGTERM from outside would: it goes to the process's first thread, where it goes from there too.
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
        let raw = Raw::enter(&terminal);
        assert!(raw.is_some() && !canonical());
        drop(raw);
        assert!(canonical());
        let (pipe, _other) = std::io::pipe().unwrap();
        assert!(Raw::enter(&pipe.into()).is_none());
    }
}
