//! What a program prints, collected while it runs.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};

/// A stream, and where its bytes arrive.
pub(crate) fn stream() -> (Box<dyn Write + Send>, Collected) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(Stream(sender)), Collected(receiver))
}

/// The bytes of a stream.
pub(crate) struct Collected(Receiver<Vec<u8>>);

impl Collected {
    /// All that have come.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.try_iter().flatten().collect()
    }
}

struct Stream(Sender<Vec<u8>>);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send(bytes.to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
