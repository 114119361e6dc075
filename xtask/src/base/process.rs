//! Commands whose output is read while they run.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result};

/// How a command ended.
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// The lines of its standard error.
    pub(crate) complaints: Vec<String>,
}

/// Runs a command to its end and calls `seen` with each line of its standard output as it arrives.
pub(crate) fn follow(command: &mut Command, mut seen: impl FnMut(&str)) -> Result<Ended> {
    let program = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {program}; is it installed?"))?;
    // Both streams are read at the same time, since a command blocks when either pipe is full.
    let stderr = child.stderr.take();
    let complaints = thread::spawn(move || stderr.into_iter().flat_map(lines).collect());
    for line in child.stdout.take().into_iter().flat_map(lines) {
        seen(&line);
    }
    Ok(Ended {
        status: child
            .wait()
            .with_context(|| format!("waiting for {program}"))?,
        complaints: complaints.join().unwrap_or_default(),
    })
}

/// The lines of a stream until it ends or fails; invalid UTF-8 is replaced.
fn lines(stream: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(stream)
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).into_owned())
}
