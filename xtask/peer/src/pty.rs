//! A pseudo-terminal, whose keys we press.
//!
//! unsafe lives here because the standard library has no terminals.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;

use crate::sys::checked;

/// Our end, and the other until a program has it.
pub(crate) struct Pty {
    ours: File,
    theirs: Option<OwnedFd>,
}

/// Modes of a terminal: input, output, control, local.
#[derive(PartialEq, Eq)]
pub(crate) struct Modes([libc::tcflag_t; 4]);

impl Modes {
    /// Whether keys come as they are pressed, unseen, and none is a signal.
    pub(crate) fn is_raw(&self) -> bool {
        self.0[3] & (libc::ICANON | libc::ECHO | libc::ISIG) == 0
    }
}

impl Pty {
    /// A terminal of this size.
    pub(crate) fn open(rows: u16, columns: u16) -> io::Result<Self> {
        let (mut ours, mut theirs) = (-1, -1);
        let (name, modes, size) = (ptr::null_mut(), ptr::null(), ptr::null());
        // SAFETY: the two numbers are written; both descriptors are new.
        let pty = unsafe {
            let made = libc::openpty(&raw mut ours, &raw mut theirs, name, modes, size);
            checked(made)?;
            Pty {
                ours: File::from_raw_fd(ours),
                theirs: Some(OwnedFd::from_raw_fd(theirs)),
            }
        };
        pty.resize(rows, columns)?;
        Ok(pty)
    }

    /// Makes it this large.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the call reads the structure.
        checked(unsafe { libc::ioctl(self.ours.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
            .map(drop)
    }

    /// Its modes.
    pub(crate) fn modes(&self) -> io::Result<Modes> {
        // SAFETY: plain data, which the call fills.
        let modes = unsafe {
            let mut modes: libc::termios = mem::zeroed();
            checked(libc::tcgetattr(self.ours.as_raw_fd(), &raw mut modes))?;
            modes
        };
        Ok(Modes([
            modes.c_iflag,
            modes.c_oflag,
            modes.c_cflag,
            modes.c_lflag,
        ]))
    }

    /// Starts a program that has the terminal, once.
    pub(crate) fn spawn(&mut self, command: &mut Command) -> io::Result<Child> {
        let theirs = self.theirs.take().ok_or(io::ErrorKind::NotFound)?;
        command
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs);
        // SAFETY: between fork and exec, two system calls: a session of its own, with the terminal as its terminal.
        let child = unsafe {
            command.pre_exec(|| {
                checked(libc::setsid())?;
                checked(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop)
            })
        }
        .spawn()?;
        Ok(child)
    }

    /// Sends SIGTERM to the program.
    pub(crate) fn terminate(&self, child: &Child) -> io::Result<()> {
        // SAFETY: touches no memory.
        checked(unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) }).map(drop)
    }
}

impl Read for Pty {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.ours.read(into)
    }
}

impl Write for Pty {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.ours.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
