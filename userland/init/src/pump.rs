//! The loop: the payload's streams, its end, and everybody else's.

use crate::child::Child;
use crate::stdin::{Fed, Stdin};
use crate::{failed, ports, reap, signals};
use core::mem::MaybeUninit;
use jiffy_abi::port;
use jiffy_abi::verdict::{Stage, Verdict};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionread, read};

/// One page: the most that KVM hands to the runner at once.
const CHUNK: usize = 4096;

/// Carries the payload's streams until it has ended; how it ended.
pub(crate) fn until_exit(child: Child) -> Result<Verdict, Verdict> {
    let mut stdin = Stdin::new(child.stdin);
    let mut outputs = [
        (Some(child.stdout), port::STDOUT),
        (Some(child.stderr), port::STDERR),
    ];
    let mut ended = None;
    loop {
        let mut moved = false;
        for (pipe, port) in &mut outputs {
            moved |= carry(pipe, *port)?;
        }
        let fed = stdin.feed();
        if let Some(verdict) = ended.or(reap::all(child.pid)?) {
            outputs
                .iter()
                .try_for_each(|(pipe, port)| drain(pipe, *port))?;
            return Ok(verdict);
        }
        let patience = match fed {
            // There may be more; take only a signal that is there already.
            _ if moved => Some(0),
            Fed::Some => Some(0),
            Fed::Later(milliseconds) => Some(milliseconds),
            Fed::Nothing => None,
        };
        // What was written before the machine's end was asked for is carried, too.
        ended = signals::wait(child.pid, patience).err();
    }
}

/// Carries one chunk of output, if there is one; gives the pipe up at its end.
fn carry(pipe: &mut Option<OwnedFd>, port: u16) -> Result<bool, Verdict> {
    let Some(end) = pipe else {
        return Ok(false);
    };
    match copy(end, port) {
        Ok(0) => {
            *pipe = None;
            Ok(false)
        }
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(errno) => Err(failed(Stage::Wait)(errno)),
    }
}

/// Carries what is in the pipe now: a daemon may hold it open, and write for ever.
fn drain(pipe: &Option<OwnedFd>, port: u16) -> Result<(), Verdict> {
    let Some(end) = pipe else {
        return Ok(());
    };
    #[expect(clippy::cast_possible_truncation, reason = "the machine has 64 bits")]
    let mut rest = ioctl_fionread(end).map_err(failed(Stage::Wait))? as usize;
    while rest > 0 {
        match copy(end, port) {
            Ok(0) => break,
            Ok(bytes) => rest = rest.saturating_sub(bytes),
            Err(errno) => return Err(failed(Stage::Wait)(errno)),
        }
    }
    Ok(())
}

/// Copies one chunk to the port; its length, 0 at the end of file.
fn copy(from: impl AsFd, port: u16) -> rustix::io::Result<usize> {
    let mut chunk = [MaybeUninit::uninit(); CHUNK];
    let (bytes, _) = read(from, &mut chunk)?;
    ports::write_all(port, bytes);
    Ok(bytes.len())
}
