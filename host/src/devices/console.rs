//! A console (virtio 1.2, 5.3): /dev/hvc0 in the guest, with the size of the terminal that it is shown on.

use super::ring::Fault;
use super::worker::Io;
use super::{Config, Device};
use crate::signals::Signals;
use crate::terminal;
use rustix::event::{PollFd, PollFlags};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Feature: the configuration has a size.
const SIZE: u64 = 1 << 0;

/// Queues by number, and their lengths.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE: u16 = 64;

/// The most that is read at once.
const CHUNK: usize = 4096;

/// What a person types to end the machine, the guest having all other keys: Ctrl-A, then x. Ctrl-A twice is one.
const ESCAPE: u8 = 1;
const QUIT: u8 = b'x';

/// A console on two descriptors.
#[derive(Debug)]
pub struct Console {
    /// None at its end.
    input: Option<File>,
    output: File,
    /// Tells that the terminal has another size; taken before there are threads, which leave it alone too.
    resized: Option<Signals>,
    /// Whether the input is a person's.
    keys: bool,
    escaped: bool,
    /// What was read and has not found room.
    pending: Vec<u8>,
    listens: Arc<AtomicBool>,
    config: Arc<Config>,
}

impl Console {
    /// A console that reads `input` and writes `output`; a terminal's size is the guest's.
    ///
    /// Input waits until `listens`, or until the guest says something: Linux throws away what comes to a driver that
    /// is still starting.
    #[must_use]
    pub fn new(input: File, output: File, listens: &Arc<AtomicBool>) -> Self {
        let keys = rustix::termios::isatty(&input);
        Console {
            config: Config::new(size(&output)),
            input: Some(input),
            resized: keys
                .then(|| Signals::take(&[libc::SIGWINCH]).ok())
                .flatten(),
            keys,
            escaped: false,
            output,
            pending: Vec::new(),
            listens: Arc::clone(listens),
        }
    }

    fn receive(&mut self, io: &mut Io) -> Result<(), Fault> {
        while self.listens.load(Ordering::Acquire) {
            if self.pending.is_empty() && !self.read()? {
                break;
            }
            let Some(mut chain) = io.rings[RECEIVE].pop(&io.view)? else {
                // What was typed waits until the driver gives room.
                if io.rings[RECEIVE].rearm(&io.view)? {
                    continue;
                }
                break;
            };
            let written = chain.writable.write(&self.pending);
            io.rings[RECEIVE].push(&io.view, chain.head(), written as u32)?;
            self.pending.drain(..written);
        }
        io.rings[RECEIVE].signal(&io.view, &io.interrupt)
    }

    /// Reads once what is there; false if there is nothing.
    fn read(&mut self) -> Result<bool, Fault> {
        let Some(input) = &mut self.input else {
            return Ok(false);
        };
        let mut polled = [PollFd::new(&*input, PollFlags::IN)];
        let none = rustix::event::Timespec::default();
        if rustix::event::poll(&mut polled, Some(&none)) == Ok(0) {
            return Ok(false);
        }
        let mut bytes = [0; CHUNK];
        match input.read(&mut bytes) {
            Ok(0) => {
                self.input = None;
                // As a terminal says it: the end of file is a character.
                self.pending.push(4);
            }
            Ok(read) => self.take(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => self.input = None,
        }
        Ok(true)
    }

    /// Takes input, and acts on what is meant for the runner.
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                ESCAPE if self.keys && !self.escaped => self.escaped = true,
                QUIT if self.escaped => {
                    self.escaped = false;
                    terminal::quit();
                }
                _ => {
                    self.escaped = false;
                    self.pending.push(byte);
                }
            }
        }
    }
}

/// Columns and rows as the configuration has them.
fn size(terminal: &File) -> Vec<u8> {
    let (columns, rows) = match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) => (size.ws_col, size.ws_row),
        Err(_) => (80, 25),
    };
    [columns.to_le_bytes(), rows.to_le_bytes()].concat()
}

impl Device for Console {
    fn kind(&self) -> u32 {
        3
    }

    fn name(&self) -> &'static str {
        "console"
    }

    fn features(&self) -> u64 {
        SIZE
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE, QUEUE]
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    fn rung(&mut self, io: &mut Io) -> Result<(), Fault> {
        let (output, listens) = (&mut self.output, &self.listens);
        io.rings[TRANSMIT].serve(&io.view, &io.interrupt, |mut chain| {
            listens.store(true, Ordering::Release);
            let mut bytes = [0; CHUNK];
            while !chain.readable.is_empty() {
                let count = chain.readable.len().min(CHUNK);
                let chunk = &mut bytes[..count];
                if chain.readable.read(chunk).is_none() || output.write_all(chunk).is_err() {
                    // Whoever read the output has seen enough; the guest is not to notice.
                    break;
                }
            }
            Ok(0)
        })?;
        self.receive(io)
    }

    fn sources(&self) -> Vec<PollFd<'_>> {
        let wanted = self.pending.is_empty() && self.listens.load(Ordering::Acquire);
        let input = self.input.as_ref().filter(|_| wanted);
        let resized = self.resized.as_ref().map(Signals::descriptor);
        let input = input.map(|input| PollFd::new(input, PollFlags::IN));
        let resized = resized.map(|resized| PollFd::new(resized, PollFlags::IN));
        resized.into_iter().chain(input).collect()
    }

    fn polled(&mut self, io: &mut Io, _events: &[PollFlags]) -> Result<(), Fault> {
        if self.resized.as_ref().is_some_and(Signals::heard) {
            self.config.set(size(&self.output));
            io.interrupt.config();
        }
        self.receive(io)
    }

    fn reset(&mut self) {
        self.pending.clear();
    }
}
