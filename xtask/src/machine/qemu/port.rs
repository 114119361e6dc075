//! An output port of the guest: a debug console of QEMU on a Unix socket, whose bytes are forwarded or kept.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};

/// The most bytes that are kept of a port.
const KEPT: u64 = 1 << 20;

/// The bytes from a port, and when the first one arrived.
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
    /// Bytes are forwarded to a stream immediately.
    pub(super) fn passed_on(
        dir: &Path,
        name: &'static str,
        number: u16,
        mut to: Box<dyn Write + Send>,
    ) -> Result<Self> {
        Self::new(dir, name, number, move |mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                // The guest runs on even if nobody reads its output any more.
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
                // On an error, keep what came before it.
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

    /// Ends the wait for a connection if QEMU ended before it connected.
    pub(super) fn release(&self) {
        // This fails if QEMU has connected; then nothing waits.
        drop(UnixStream::connect(&self.socket));
        let _ = fs::remove_file(&self.socket);
    }

    pub(super) fn finish(self) -> Received {
        self.thread.join().unwrap_or_default()
    }
}
