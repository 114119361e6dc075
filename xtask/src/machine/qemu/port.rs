//! One of the guest's output ports: QEMU's debug console on a socket, whose bytes are passed on or kept.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};

/// More than this of a port that we keep is not kept.
const KEPT: u64 = 1 << 20;

/// What came through a port, and when the first byte did.
#[derive(Default)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) first: Option<Instant>,
}

/// One of the guest's ports on a socket.
pub(super) struct Port {
    pub(super) name: &'static str,
    pub(super) number: u16,
    pub(super) socket: PathBuf,
    thread: JoinHandle<Received>,
}

impl Port {
    /// Bytes go to a stream of ours at once.
    pub(super) fn passed_on(
        dir: &Path,
        name: &'static str,
        number: u16,
        mut to: Box<dyn Write + Send>,
    ) -> Result<Self> {
        Self::new(dir, name, number, move |mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                // A reader of ours that has gone away no longer cares; the guest goes on to its end.
                let _ = to.write_all(&buffer[..read]).and_then(|()| to.flush());
            }
            Received::default()
        })
    }

    /// Bytes are kept until the end.
    pub(super) fn kept(dir: &Path, name: &'static str, number: u16) -> Result<Self> {
        Self::new(dir, name, number, |mut stream| {
            let mut received = Received::default();
            let mut byte = [0];
            if let Ok(1) = stream.read(&mut byte) {
                received.first = Some(Instant::now());
                received.bytes.push(byte[0]);
                // What came before an error is what there is.
                let _ = (&mut stream).take(KEPT).read_to_end(&mut received.bytes);
                let _ = io::copy(&mut stream, &mut io::sink());
            }
            received
        })
    }

    fn new(
        dir: &Path,
        name: &'static str,
        number: u16,
        serve: impl FnOnce(UnixStream) -> Received + Send + 'static,
    ) -> Result<Self> {
        let socket = dir.join(name);
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("listening on {}", socket.display()))?;
        let thread = thread::spawn(move || match listener.accept() {
            Ok((stream, _)) => serve(stream),
            Err(_) => Received::default(),
        });
        Ok(Self {
            name,
            number,
            socket,
            thread,
        })
    }

    /// Ends the wait for a QEMU that ended before it connected.
    pub(super) fn release(&self) {
        // Refused when QEMU was there first: then nothing waits.
        drop(UnixStream::connect(&self.socket));
        let _ = fs::remove_file(&self.socket);
    }

    pub(super) fn finish(self) -> Received {
        self.thread.join().unwrap_or_default()
    }
}
