//! A terminal for a guest's console: its mode while the guest has it, its keys, its size, and its state afterwards.
//!
//! The guest's program says `ready`, then `heard LINE` of a line, then `resized` when its terminal has 40 rows and
//! 120 columns, and ends with status 7 when it is told to.

use crate::expect;
use crate::pty::Pty;
use std::io::{self, Read, Write};
use std::process::Command;

/// What its runner ends with when it is interrupted.
const INTERRUPTED: i32 = 130;

/// Ctrl-A, then x.
const QUIT: &[u8] = b"\x01x";

pub(crate) fn try_out(end: &str, command: &[&str]) -> io::Result<()> {
    let mut pty = Pty::open(30, 100)?;
    let before = pty.modes()?;
    let mut child = pty.spawn(Command::new(command[0]).args(&command[1..]))?;
    wait_for(&mut pty, "ready 30 100\r\n")?;
    expect("the terminal is not raw", pty.modes()?.is_raw())?;
    pty.write_all(b"a line\r")?;
    wait_for(&mut pty, "heard a line\r\n")?;
    pty.resize(40, 120)?;
    wait_for(&mut pty, "resized\r\n")?;
    let status = match end {
        "normal" => {
            pty.write_all(b"end\r")?;
            7
        }
        "killed" => {
            pty.terminate(&child)?;
            INTERRUPTED
        }
        "keys" => {
            pty.write_all(QUIT)?;
            INTERRUPTED
        }
        _ => return Err(io::Error::other("END is normal, killed or keys")),
    };
    let ended = child.wait()?;
    expect(
        &format!("it ended with {ended}"),
        ended.code() == Some(status),
    )?;
    expect("the terminal is not as it was", pty.modes()? == before)
}

/// Reads what is shown until this is; an error if the runner ends before.
fn wait_for(pty: &mut Pty, text: &str) -> io::Result<()> {
    let mut shown = Vec::new();
    let mut byte = [0];
    while !shown.ends_with(text.as_bytes()) {
        // A terminal that nobody has open any more cannot be read.
        match pty.read(&mut byte) {
            Ok(1..) => shown.push(byte[0]),
            Ok(0) | Err(_) => {
                let shown = String::from_utf8_lossy(&shown);
                return Err(io::Error::other(format!("no {text:?} in {shown:?}")));
            }
        }
    }
    Ok(())
}
