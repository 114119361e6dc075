//! The payload's standard input: what can be read of a descriptor now, without waiting.

use crate::base::cast::to_u32;
use crate::base::descriptor::Descriptor;
use jiffy_abi::port;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};

/// A descriptor and what was read ahead of the guest.
#[derive(Debug)]
pub struct Stdin {
    file: Option<Descriptor>,
    buffer: Vec<u8>,
    taken: usize,
}

impl Stdin {
    /// No input: the payload reads an end of file at once.
    #[must_use]
    pub fn none() -> Self {
        Stdin {
            file: None,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// The input of this file, pipe or terminal.
    #[must_use]
    pub fn of(file: impl Into<Descriptor>) -> Self {
        Stdin {
            file: Some(file.into()),
            ..Self::none()
        }
    }

    /// How many bytes can be taken now, as [`port::STDIN_READY`] reads.
    pub fn ready(&mut self) -> u32 {
        if self.taken == self.buffer.len() {
            self.refill();
        }
        match (self.buffer.len() - self.taken, &self.file) {
            (0, None) => port::STDIN_EOF,
            (ready, _) => to_u32(ready),
        }
    }

    /// Takes the next bytes; zeros beyond what [`Stdin::ready`] returned.
    pub fn take(&mut self, into: &mut [u8]) {
        let ready = &self.buffer[self.taken..];
        let count = ready.len().min(into.len());
        into[..count].copy_from_slice(&ready[..count]);
        into[count..].fill(0);
        self.taken += count;
    }

    fn refill(&mut self) {
        let Some(file) = &self.file else { return };
        self.taken = 0;
        self.buffer.clear();
        let mut polled = [PollFd::new(file, PollFlags::IN)];
        // A signal may come at any moment. Only a descriptor that is said to be readable is read: others may block.
        if !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(1..)) {
            return;
        }
        self.buffer.resize(port::STDIN_CHUNK, 0);
        let read = match read(file, &mut self.buffer[..]) {
            Ok(read) => read,
            Err(Errno::INTR | Errno::AGAIN) => return self.buffer.clear(),
            // A descriptor that cannot be read (closed, a directory) has no more input.
            Err(_) => 0,
        };
        self.buffer.truncate(read);
        if read == 0 {
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_pipe_is_read_as_it_fills() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut stdin = Stdin::of(std::os::fd::OwnedFd::from(reader));
        assert_eq!(stdin.ready(), 0, "nothing was written yet");
        writer.write_all(b"hello").unwrap();
        assert_eq!(stdin.ready(), 5);
        let mut some = [0; 3];
        stdin.take(&mut some);
        assert_eq!((&some, stdin.ready()), (b"hel", 2));
        let mut rest = [9; 4];
        stdin.take(&mut rest);
        assert_eq!(&rest, b"lo\0\0");
        drop(writer);
        assert_eq!(stdin.ready(), port::STDIN_EOF);
    }
}
