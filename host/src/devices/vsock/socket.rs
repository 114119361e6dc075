//! The host's side of connections: Unix sockets, by the convention of Firecracker. A program that wants a port of the guest
//! connects to PATH and writes `CONNECT port`; a guest's connection to a port of the host goes to `PATH_port`.

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, open, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// How many programs may wait to be accepted (listen(2)).
const BACKLOG: i32 = 64;

/// The length of the longest first line.
const LINE: usize = "CONNECT 4294967295\n".len();

/// The socket that programs of the host connect to; removed when dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: OwnedFd,
    /// The directory of its path, which the jail does not change; and its name there.
    directory: OwnedFd,
    name: OsString,
    /// Its path, as the device's thread sees it.
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`; `jail` will be the thread's root by the time that it makes connections.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub(super) fn listen(path: &Path, jail: Option<&Path>) -> Result<Self> {
        let failed = |errno: Errno| {
            let advice = match errno {
                Errno::XDEV => "; with --jail DIR, give a path in DIR",
                Errno::ADDRINUSE => "; if no other run listens there, remove the file",
                Errno::NAMETOOLONG | Errno::INVAL => "; give a shorter path",
                _ => "",
            };
            let (path, error) = (path.display(), io::Error::from(errno));
            Error::Device(format!("--vsock uds={path}: {error}{advice}"))
        };
        let name = path.file_name().ok_or(Errno::INVAL).map_err(failed)?;
        let above = path.parent().filter(|above| *above != Path::new(""));
        let above = above.unwrap_or(Path::new("."));
        let seen = match jail {
            Some(jail) => inside(above, jail).map_err(failed)?.join(name),
            None => path.to_owned(),
        };
        // The sockets of ports have longer names.
        SocketAddrUnix::new(numbered(&seen, u32::MAX)).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(above, flags, Mode::empty()).map_err(failed)?;
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let listener = stream().map_err(failed)?;
        bind(&listener, &address).map_err(failed)?;
        let socket = Socket {
            listener,
            directory,
            name: name.to_owned(),
            path: seen,
        };
        listen(&socket.listener, BACKLOG).map_err(failed)?;
        Ok(socket)
    }

    /// What to poll for programs that connect.
    pub(super) fn interest(&self) -> PollFd<'_> {
        PollFd::new(&self.listener, PollFlags::IN)
    }

    /// Accepts a program that has connected.
    ///
    /// # Errors
    /// `EAGAIN` if there is none, `EMFILE` and others if there are no resources for one.
    pub(super) fn accept(&self) -> std::result::Result<Handshake, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(Handshake {
            stream: accept_with(&self.listener, flags)?,
            line: Vec::new(),
        })
    }

    /// A connection to the program that listens for the guest at a port, if there is one.
    pub(super) fn connect(&self, port: u32) -> Option<OwnedFd> {
        let address = SocketAddrUnix::new(numbered(&self.path, port)).ok()?;
        let stream = stream().ok()?;
        // A program whose backlog is full refuses too.
        connect(&stream, &address).ok()?;
        Some(stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It fails for a socket that is gone, or that the jail does not let us remove.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

fn stream() -> std::result::Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// A directory's path where `jail` is the root; `EXDEV` if it is not in there.
fn inside(directory: &Path, jail: &Path) -> std::result::Result<PathBuf, Errno> {
    let real = |path: &Path| {
        let found = path.canonicalize();
        found.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    let (directory, jail) = (real(directory)?, real(jail)?);
    let rest = directory.strip_prefix(jail).map_err(|_| Errno::XDEV)?;
    Ok(Path::new("/").join(rest))
}

fn numbered(path: &Path, port: u32) -> OsString {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("_{port}"));
    name
}

/// A program that has connected and not yet named a port.
#[derive(Debug)]
pub(super) struct Handshake {
    stream: OwnedFd,
    line: Vec<u8>,
}

/// How far a handshake is.
#[derive(Debug)]
pub(super) enum Progress {
    /// The line is not complete.
    Pending(Handshake),
    /// The program wants this port of the guest.
    Connect(OwnedFd, u32),
    /// This is no handshake, or the program is gone.
    Invalid,
}

impl Handshake {
    /// What to poll for the program's line.
    pub(super) fn interest(&self) -> PollFd<'_> {
        PollFd::new(&self.stream, PollFlags::IN)
    }

    /// Reads on, but not past the end of the line: what follows is for the guest.
    pub(super) fn read(mut self) -> Progress {
        let mut byte = [0];
        while self.line.len() < LINE {
            match rustix::io::read(&self.stream, &mut byte) {
                Ok(1..) => self.line.push(byte[0]),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Progress::Pending(self),
                Ok(0) | Err(_) => break,
            }
            if byte[0] == b'\n' {
                return match port(&self.line) {
                    Some(port) => Progress::Connect(self.stream, port),
                    None => Progress::Invalid,
                };
            }
        }
        Progress::Invalid
    }
}

fn port(line: &[u8]) -> Option<u32> {
    let line = str::from_utf8(line).ok()?.trim_ascii_end();
    let number = line.strip_prefix("CONNECT ")?;
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number() {
        for (line, wanted) in [
            ("CONNECT 52\n", Some(52)),
            ("CONNECT 52\r\n", Some(52)),
            ("CONNECT 4294967295\n", Some(u32::MAX)),
            ("CONNECT 4294967296\n", None),
            ("CONNECT +1\n", None),
            ("CONNECT \n", None),
            ("connect 1\n", None),
            ("\n", None),
        ] {
            assert_eq!(port(line.as_bytes()), wanted, "{line:?}");
        }
    }

    #[test]
    fn a_socket_is_there_while_it_is_listened_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vsock");
        let socket = Socket::listen(&path, None).unwrap();
        let error = Socket::listen(&path, None).unwrap_err().to_string();
        assert!(error.contains("remove the file"), "{error}");
        drop(socket);
        assert!(!path.exists());
        // One that is elsewhere by then is not made.
        let jail = dir.path().join("jail");
        std::fs::create_dir_all(jail.join("sub")).unwrap();
        let error = Socket::listen(&path, Some(&jail)).unwrap_err().to_string();
        assert!(error.contains("give a path in DIR"), "{error}");
        assert!(!path.exists());
        let within = Socket::listen(&jail.join("sub/../sub/vsock"), Some(&jail)).unwrap();
        assert_eq!(within.path, Path::new("/sub/vsock"));
        let long = dir.path().join("a".repeat(200));
        let error = Socket::listen(&long, None).unwrap_err().to_string();
        assert!(error.contains("shorter"), "{error}");
    }
}
