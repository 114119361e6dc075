//! What the tests need at the other end of a guest's devices; except where it says so, it prints nothing unless something is wrong.
//!
//! `jiffy-peer echo` runs in a guest. It gives back what it hears, first on a connection that it makes to the host's
//! port 52, then on one that the host makes to its port 80.
//!
//! `jiffy-peer talk PATH BYTES COMMAND [ARG...]` runs on the host, where COMMAND starts the guest with its sockets at
//! PATH. It says BYTES to the guest on each connection and compares what comes back.
//!
//! `jiffy-peer terminal END COMMAND [ARG...]` gives COMMAND, which starts a guest with a console, a terminal, and has it
//! end as END says: see terminal.rs.
//!
//! `jiffy-peer capabilities` tries what the kernel has for programs, and prints a line for each: see capabilities.rs.

mod capabilities;
mod pty;
mod sys;
mod terminal;
mod vsock;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

const HOSTS_PORT: u32 = 52;
const GUESTS_PORT: u32 = 80;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["echo"] => echo(),
        ["capabilities"] => capabilities::try_out(),
        ["talk", path, bytes, ref command @ ..] if !command.is_empty() => {
            talk(path, bytes, command)
        }
        ["terminal", end, ref command @ ..] if !command.is_empty() => {
            terminal::try_out(end, command)
        }
        _ => Err(io::Error::other(
            "usage: jiffy-peer echo | capabilities | talk PATH BYTES COMMAND... | terminal END COMMAND...",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With no standard error there is nowhere to say it.
            let _ = writeln!(io::stderr(), "jiffy-peer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The guest's end.
fn echo() -> io::Result<()> {
    // First, so that whoever hears of us on the other connection finds somebody here.
    let listener = vsock::listen(GUESTS_PORT)?;
    give_back(vsock::connect(HOSTS_PORT)?)?;
    give_back(vsock::accept(&listener)?)
}

fn give_back(stream: File) -> io::Result<()> {
    io::copy(&mut &stream, &mut &stream)?;
    vsock::end_output(&stream)?;
    // The other side has the last word, which is that there is none.
    expect("bytes behind the end", (&stream).read(&mut [0])? == 0)
}

/// The host's end.
fn talk(path: &str, bytes: &str, command: &[&str]) -> io::Result<()> {
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    let listener = UnixListener::bind(format!("{path}_{HOSTS_PORT}"))?;
    let mut guest = Command::new(command[0]).args(&command[1..]).spawn()?;
    converse("the guest's", &listener.accept()?.0, bytes, false)?;
    let (nobody, line) = connect(path, GUESTS_PORT + 1)?;
    expect(
        "nobody listens there, and somebody answered",
        line.is_empty(),
    )?;
    drop(nobody);
    let (stream, line) = connect(path, GUESTS_PORT)?;
    let number = line
        .strip_prefix("OK ")
        .and_then(|rest| rest.strip_suffix('\n'));
    let number = number.and_then(|number| number.parse::<u32>().ok());
    expect("no OK with a number", number.is_some())?;
    converse("the host's", &stream, bytes, true)?;
    drop(stream);
    let status = guest.wait()?;
    expect("the guest failed", status.success())?;
    expect("the socket is still there", !Path::new(path).exists())
}

/// A connection to the guest, and the line that says that it accepted.
fn connect(path: &str, port: u32) -> io::Result<(UnixStream, String)> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
    let mut line = String::new();
    let mut byte = [0];
    while !line.ends_with('\n') && stream.read(&mut byte)? == 1 {
        line.push(byte[0].into());
    }
    Ok((stream, line))
}

/// Says bytes while it reads them back, and that there are no more: as soon as that is so, or, if the guest ends after it,
/// when all have come back, since nobody has what a machine that has ended was about to say.
fn converse(name: &str, stream: &UnixStream, count: usize, last: bool) -> io::Result<()> {
    let said: Vec<u8> = pattern().take(count).collect();
    let mut heard = Vec::new();
    thread::scope(|scope| {
        let speaker = scope.spawn(|| {
            (&mut &*stream).write_all(&said)?;
            if last {
                return Ok(());
            }
            stream.shutdown(Shutdown::Write)
        });
        if last {
            stream.take(count as u64).read_to_end(&mut heard)?;
            stream.shutdown(Shutdown::Write)?;
        }
        (&mut &*stream).read_to_end(&mut heard)?;
        speaker
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })?;
    let wrong = said
        .iter()
        .zip(&heard)
        .position(|(said, heard)| said != heard);
    let (count, wrong) = (heard.len(), wrong.unwrap_or(said.len()));
    expect(
        &format!(
            "{name}: {count} bytes came back of {}, the first {wrong} right",
            said.len()
        ),
        heard == said,
    )
}

/// Bytes that do not repeat where a buffer would (xorshift).
fn pattern() -> impl Iterator<Item = u8> {
    let mut state = 0x2545_f491_u32;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
}

pub(crate) fn expect(what: &str, holds: bool) -> io::Result<()> {
    if holds {
        return Ok(());
    }
    Err(io::Error::other(what.to_owned()))
}
