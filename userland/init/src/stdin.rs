//! The payload's standard input, fetched from the runner.
#![allow(unsafe_code)]

use crate::ports;
use core::mem::MaybeUninit;
use jiffy_abi::port;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, write};

/// The longest pause between two questions, in milliseconds: what a person typing does not notice.
const LONGEST_PAUSE: u32 = 16;

/// What feeding came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fed {
    /// Something moved: feed again.
    Some,
    /// The runner has nothing yet: ask again in so many milliseconds.
    Later(u32),
    /// The pipe is full, and SIGIO will tell when it no longer is; or the input is over.
    Nothing,
}

/// The writing end of the payload's standard input, and bytes on their way there.
pub(crate) struct Stdin {
    pipe: Option<OwnedFd>,
    chunk: [MaybeUninit<u8>; port::STDIN_CHUNK],
    from: usize,
    to: usize,
    pause: u32,
}

impl Stdin {
    pub(crate) fn new(pipe: Option<OwnedFd>) -> Self {
        let chunk = [MaybeUninit::uninit(); port::STDIN_CHUNK];
        Stdin {
            pipe,
            chunk,
            from: 0,
            to: 0,
            pause: 0,
        }
    }

    /// Moves one chunk on, if there is one and it has room.
    ///
    /// The runner is asked again and again: it could call only through an interrupt, and to get one PID 1 would
    /// need a driver in the kernel. The pause doubles from 1 ms, so that a waiting payload costs next to nothing.
    pub(crate) fn feed(&mut self) -> Fed {
        let Some(pipe) = &self.pipe else {
            return Fed::Nothing;
        };
        if self.from == self.to {
            match ports::read(port::STDIN_READY) {
                port::STDIN_EOF => return self.close(),
                0 => {
                    self.pause = (self.pause * 2).clamp(1, LONGEST_PAUSE);
                    return Fed::Later(self.pause);
                }
                ready => {
                    let bytes = (ready as usize).min(port::STDIN_CHUNK);
                    ports::read_all(port::STDIN, &mut self.chunk[..bytes]);
                    (self.from, self.to, self.pause) = (0, bytes, 0);
                }
            }
        }
        // SAFETY: the port has filled the chunk up to `to`.
        let rest = unsafe { self.chunk[self.from..self.to].assume_init_ref() };
        match write(pipe, rest) {
            Ok(written) => {
                self.from += written;
                Fed::Some
            }
            Err(Errno::AGAIN | Errno::INTR) => Fed::Nothing,
            // The payload reads no more.
            Err(_) => self.close(),
        }
    }

    fn close(&mut self) -> Fed {
        self.pipe = None;
        Fed::Nothing
    }
}
