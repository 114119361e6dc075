//! The host's side of connections: Unix sockets, by the convention that Firecracker made. A program that wants a port
//! of the guest's connects to PATH and says `CONNECT port`; the guest's connection to a port of the host's goes to
//! `PATH_port`.

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

/// How many programs may wait to be accepted.
const WAITING: i32 = 64;

/// The longest first line.
const LINE: usize = "CONNECT 4294967295\n".len();

/// The socket that programs of the host connect to; removed when dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: OwnedFd,
    /// Where it is, wherever the root is by then; and its name there.
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
        // Every port's own socket has a longer name.
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
        listen(&socket.listener, WAITING).map_err(failed)?;
        Ok(socket)
    }

    /// Becomes readable when somebody connects.
    pub(super) fn interest(&self) -> PollFd<'_> {
        PollFd::new(&self.listener, PollFlags::IN)
    }

    /// Somebody who has connected.
    ///
    /// # Errors
    /// `EAGAIN` if there is nobody, `EMFILE` and others if there is no room for anybody.
    pub(super) fn accept(&self) -> std::result::Result<Greeting, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(Greeting {
            stream: accept_with(&self.listener, flags)?,
            line: Vec::new(),
        })
    }

    /// A connection to the program that listens for the guest at a port, if there is one.
    pub(super) fn connect(&self, port: u32) -> Option<OwnedFd> {
        let address = SocketAddrUnix::new(numbered(&self.path, port)).ok()?;
        let stream = stream().ok()?;
        // One that has no place for another in its queue refuses too.
        connect(&stream, &address).ok()?;
        Some(stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What is not there any more, or not ours to remove, stays as it is.
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

/// A program that has connected and not yet said which port it wants.
#[derive(Debug)]
pub(super) struct Greeting {
    stream: OwnedFd,
    line: Vec<u8>,
}

/// What a program has said.
#[derive(Debug)]
pub(super) enum Greeted {
    /// Not yet all.
    Waits(Greeting),
    /// The port of the guest that it wants.
    Wants(OwnedFd, u32),
    /// Nothing that can be understood.
    Nonsense,
}

impl Greeting {
    /// Becomes readable when the program says something.
    pub(super) fn interest(&self) -> PollFd<'_> {
        PollFd::new(&self.stream, PollFlags::IN)
    }

    /// Reads on, and not past the line's end: what follows is the guest's.
    pub(super) fn read(mut self) -> Greeted {
        let mut byte = [0];
        while self.line.len() < LINE {
            match rustix::io::read(&self.stream, &mut byte) {
                Ok(1..) => self.line.push(byte[0]),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Greeted::Waits(self),
                Ok(0) | Err(_) => break,
            }
            if byte[0] == b'\n' {
                return match port(&self.line) {
                    Some(port) => Greeted::Wants(self.stream, port),
                    None => Greeted::Nonsense,
                };
            }
        }
        Greeted::Nonsense
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
