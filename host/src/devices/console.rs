//! A console (virtio 1.2, 5.3): /dev/hvc0 in the guest, with the size of the terminal that it is shown on.

use super::virtio::config::Config;
use super::virtio::device::Device;
use super::virtio::io::Io;
use super::virtio::queue::Fault;
use crate::base::cast::to_u32;
use crate::base::signals::SignalFd;
use crate::base::stop::Stop;
use crate::base::terminal;
use rustix::event::{PollFd, PollFlags};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

/// Feature bit: the configuration space has the size (`VIRTIO_CONSOLE_F_SIZE` of linux/virtio_console.h).
const SIZE: u64 = 1 << 0;

/// The virtqueues' indices, and their sizes.
const RX: usize = 0;
const TX: usize = 1;
const QUEUE_SIZE: u16 = 64;

/// The most that is read at once.
const CHUNK: usize = 4096;

/// Ctrl-A, then x, ends the machine; the guest gets all other keys, and one Ctrl-A for two.
const ESCAPE: u8 = 1;
const QUIT: u8 = b'x';

/// Ctrl-C.
const INTERRUPT: u8 = 3;

/// A console on two descriptors.
#[derive(Debug)]
pub struct Console {
    /// `None` after its end.
    input: Option<File>,
    output: File,
    /// SIGWINCH. It is blocked before there are threads, which inherit that.
    resized: Option<SignalFd>,
    /// Whether the input is a terminal, at which Ctrl-A x ends the machine.
    keys: bool,
    escaped: bool,
    /// Whether the guest has a driver for it.
    driven: bool,
    /// What was read and waits for buffers of the driver.
    pending: Vec<u8>,
    guest_ready: Arc<AtomicBool>,
    config: Arc<Config>,
}

impl Console {
    /// A console that reads `input` and writes `output`; a terminal's size is the guest's.
    ///
    /// Input waits until `guest_ready`, or until the guest writes something: Linux drops what comes while its driver is
    /// still starting.
    #[must_use]
    pub fn new(input: File, output: File, guest_ready: &Arc<AtomicBool>) -> Self {
        let keys = rustix::termios::isatty(&input);
        Console {
            config: Config::new(size(&output)),
            input: Some(input),
            resized: keys
                .then(|| SignalFd::new(&[libc::SIGWINCH]).ok())
                .flatten(),
            keys,
            escaped: false,
            driven: false,
            output,
            pending: Vec::new(),
            guest_ready: Arc::clone(guest_ready),
        }
    }

    /// Takes keys that are meant for the runner whether or not the guest is ready, and passes on the others once it is.
    fn receive(&mut self, io: &mut Io) -> Result<(), Fault> {
        // As much as there is room for: what is left would wake the thread again at once.
        while self.wants_input() && self.read()? {
            self.deliver(io)?;
        }
        self.deliver(io)?;
        io.queues[RX].notify_driver(&io.memory, &io.interrupt)
    }

    /// Passes on what was read, as far as the driver offers buffers.
    fn deliver(&mut self, io: &mut Io) -> Result<(), Fault> {
        while self.guest_ready.load(Ordering::Acquire) && !self.pending.is_empty() {
            let Some(mut chain) = io.queues[RX].pop(&io.memory)? else {
                // The input waits until the driver offers buffers.
                if io.queues[RX].enable_notification(&io.memory)? {
                    continue;
                }
                break;
            };
            let written = chain.writable.write(&self.pending);
            io.queues[RX].add_used(&io.memory, chain.head(), to_u32(written))?;
            self.pending.drain(..written);
        }
        Ok(())
    }

    /// Whether there is room for more of the input.
    fn wants_input(&self) -> bool {
        self.pending.len() < CHUNK
    }

    /// Reads once what is available; false if there is nothing.
    fn read(&mut self) -> Result<bool, Fault> {
        let Some(input) = &mut self.input else {
            return Ok(false);
        };
        let mut polled = [PollFd::new(&*input, PollFlags::IN)];
        let none = rustix::event::Timespec::default();
        if !matches!(rustix::event::poll(&mut polled, Some(&none)), Ok(1..)) {
            return Ok(false);
        }
        let mut bytes = [0; CHUNK];
        match input.read(&mut bytes) {
            Ok(0) => {
                self.input = None;
                // A terminal's end of file is a character, Ctrl-D.
                self.pending.push(4);
            }
            Ok(read) => self.take(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => self.input = None,
        }
        Ok(true)
    }

    /// Takes input, and obeys what is meant for the runner.
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                ESCAPE if self.keys && !self.escaped => self.escaped = true,
                // Before the guest has its console, the terminal still means what it says.
                INTERRUPT if self.keys && !self.driven => terminal::quit(),
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

/// Writes to a terminal that may be stopped, or a pipe that may be full; false if the thread is to stop, or nobody reads.
fn show(mut output: &File, mut bytes: &[u8], stop: &Stop) -> bool {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted && !stop.requested() => {}
            Err(_) => return false,
        }
    }
    true
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
    fn id(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn name(&self) -> &'static str {
        "console"
    }

    fn features(&self) -> u64 {
        SIZE
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    fn activate(&mut self, _io: &mut Io) -> Result<(), Fault> {
        self.driven = true;
        Ok(())
    }

    fn notified(&mut self, io: &mut Io) -> Result<(), Fault> {
        let (output, guest_ready, stop) = (&self.output, &self.guest_ready, &io.stop);
        io.queues[TX].serve(&io.memory, &io.interrupt, |mut chain| {
            guest_ready.store(true, Ordering::Release);
            let mut bytes = [0; CHUNK];
            while !chain.readable.is_empty() {
                let count = chain.readable.len().min(CHUNK);
                let chunk = &mut bytes[..count];
                if chain.readable.read(chunk).is_none() || !show(output, chunk, stop) {
                    // Nobody reads the output any more, which is no reason for the guest to fail.
                    break;
                }
            }
            Ok(0)
        })?;
        self.receive(io)
    }

    fn sources(&self) -> Vec<PollFd<'_>> {
        let input = self.input.as_ref().filter(|_| self.wants_input());
        let resized = self.resized.as_ref();
        let input = input.map(|input| PollFd::new(input, PollFlags::IN));
        let resized = resized.map(|resized| PollFd::new(resized, PollFlags::IN));
        resized.into_iter().chain(input).collect()
    }

    fn polled(&mut self, io: &mut Io, _events: &[PollFlags]) -> Result<(), Fault> {
        if self.resized.as_ref().is_some_and(SignalFd::take) {
            self.config.set(size(&self.output));
            io.interrupt.config_changed();
        }
        self.receive(io)
    }

    fn idle_source(&self) -> Option<PollFd<'_>> {
        let input = self.input.as_ref().filter(|_| self.keys)?;
        Some(PollFd::new(input, PollFlags::IN))
    }

    fn idle_polled(&mut self) {
        // What is typed for a guest that does not listen yet is kept, as far as there is room.
        let _ = self.read();
        self.pending.truncate(CHUNK);
    }

    fn reset(&mut self) {
        self.driven = false;
        self.pending.clear();
    }
}
