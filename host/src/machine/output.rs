//! The payload's output, on its way from a vCPU's thread to descriptors whose readers may be slow, stopped or gone.

use crate::base::descriptor::Descriptor;
use crate::base::stop::{POLL_PATIENCE, vcpu_stops};
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};

/// How much is written at once: a pipe that has room takes this much without blocking (`PIPE_BUF` of pipe(7)).
const CHUNK: usize = 4096;

/// Where the payload's output goes. A descriptor that takes no more stops the guest's vCPU, not the end of its machine.
#[derive(Debug)]
pub struct Output {
    /// The payload's standard output.
    pub stdout: Descriptor,
    /// The payload's standard error.
    pub stderr: Descriptor,
}

/// What became of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// All of it was written.
    All,
    /// The vCPU is to stop, and its output waits for room.
    Stopped,
    /// Nobody will read it.
    Closed,
}

/// Writes all of `data`, or as much as there is room for until this thread's vCPU is to stop.
///
/// # Errors
/// [`Error::Output`].
pub(super) fn pass_on(to: &Descriptor, mut data: &[u8]) -> Result<Passed> {
    while !data.is_empty() {
        let mut polled = [PollFd::new(to, PollFlags::OUT)];
        let room = match poll(&mut polled, Some(&POLL_PATIENCE)) {
            Ok(ready) => ready > 0,
            Err(Errno::INTR) => false,
            Err(error) => return Err(Error::Output(error.into())),
        };
        if !room {
            if vcpu_stops() {
                return Ok(Passed::Stopped);
            }
            continue;
        }
        match write(to, &data[..data.len().min(CHUNK)]) {
            Ok(count) => data = &data[count..],
            // Somebody else took the room, or a signal came while a terminal had too little.
            Err(Errno::INTR | Errno::AGAIN) if vcpu_stops() => return Ok(Passed::Stopped),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::PIPE) => return Ok(Passed::Closed),
            Err(error) => return Err(Error::Output(error.into())),
        }
    }
    Ok(Passed::All)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::stop;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::thread;

    #[test]
    fn a_reader_gets_all_and_a_gone_one_ends_it() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = Descriptor::from(OwnedFd::from(writer));
        let data = vec![7; 300_000];
        let read = thread::spawn(move || {
            let mut all = vec![0; 300_000];
            reader.read_exact(&mut all).map(|()| all)
        });
        assert_eq!(pass_on(&writer, &data).unwrap(), Passed::All);
        assert_eq!(read.join().unwrap().unwrap(), data);
        assert_eq!(pass_on(&writer, &data).unwrap(), Passed::Closed);
    }

    #[test]
    fn a_reader_that_stalls_does_not_keep_a_vcpu_that_stops() {
        let (_reader, writer) = std::io::pipe().unwrap();
        // No deadline is set, as in the threads that are told when.
        stop::tick();
        let passed = pass_on(&OwnedFd::from(writer).into(), &vec![7; 300_000]);
        stop::reset();
        assert_eq!(passed.unwrap(), Passed::Stopped);
    }
}
