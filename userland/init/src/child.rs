//! Starting the payload: pipes, a process, its program.
//!
//! unsafe lives here because a copy of the process is made and given a program.
#![allow(unsafe_code)]

use crate::{failed, packed::cut, payload::Payload, ports, signals, sys};
use core::ffi::CStr;
use core::ptr;
use jiffy_abi::payload::{MAX_STRINGS, STDIN, TERMINAL, TERMINAL_PATH};
use jiffy_abi::port;
use jiffy_abi::verdict::{Stage, Verdict};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::{self, Errno};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// A running payload and PID 1's ends of its streams.
pub(crate) struct Child {
    /// Its process.
    pub(crate) pid: Pid,
    /// Where its standard input is written; none if it gets none.
    pub(crate) stdin: Option<OwnedFd>,
    /// Where its standard output is read.
    pub(crate) stdout: OwnedFd,
    /// Where its standard error is read.
    pub(crate) stderr: OwnedFd,
}

/// The payload's own ends.
struct Streams {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    /// Takes the errno of a failed exec; a successful one closes it.
    failure: OwnedFd,
}

/// Starts the payload, waits until it executes its program, and tells the runner so.
pub(crate) fn start(payload: &Payload<'_>) -> Result<Child, Verdict> {
    let strings = strings(payload);
    let piped = failed(Stage::Pipe);
    fill_standard_descriptors().map_err(&piped)?;
    let (their_stdin, our_stdin) = pipe().map_err(&piped)?;
    let (our_stdout, their_stdout) = pipe().map_err(&piped)?;
    let (our_stderr, their_stderr) = pipe().map_err(&piped)?;
    let (failure, their_failure) = pipe().map_err(&piped)?;
    for end in [&our_stdin, &our_stdout, &our_stderr] {
        watch(end).map_err(&piped)?;
    }
    let theirs = Streams {
        stdin: their_stdin,
        stdout: their_stdout,
        stderr: their_stderr,
        failure: their_failure,
    };
    // SAFETY: the child goes on to execute its program or exits.
    let Some(pid) = unsafe { sys::fork() }.map_err(failed(Stage::Fork))? else {
        become_payload(theirs, &strings, payload);
    };
    drop(theirs);
    exec_result(&failure)?;
    ports::write(port::READY, port::STARTED_BYTE);
    Ok(Child {
        pid,
        stdin: (payload.flags & STDIN != 0).then_some(our_stdin),
        stdout: our_stdout,
        stderr: our_stderr,
    })
}

/// The arguments and, after a null, the environment, with a null at the end.
type Strings = [*const u8; MAX_STRINGS + 2];

fn strings(payload: &Payload<'_>) -> Strings {
    let mut strings = [ptr::null(); MAX_STRINGS + 2];
    let (args, env) = strings.split_at_mut(payload.args + 1);
    let mut rest = payload.bytes();
    // SAFETY: a payload has as many strings as its counts say; what comes before the arguments is not for the program.
    unsafe {
        cut(&mut rest);
        cut(&mut rest);
        for slot in args[..payload.args]
            .iter_mut()
            .chain(&mut env[..payload.env])
        {
            *slot = cut(&mut rest).as_ptr().cast();
        }
    }
    strings
}

/// Takes descriptors 0 to 2 where the kernel had no console to open, lest a pipe get one of these numbers.
fn fill_standard_descriptors() -> io::Result<()> {
    loop {
        let fd = open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if fd.as_raw_fd() > 2 {
            return Ok(());
        }
        core::mem::forget(fd);
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC)
}

/// Has SIGIO sent when there is something to do at this end, and never blocks there.
fn watch(end: &OwnedFd) -> io::Result<()> {
    sys::set_owner(end, Pid::INIT)?;
    fcntl_setfl(end, OFlags::NONBLOCK | OFlags::ASYNC)
}

/// Waits for the exec: its errno, or the end of file when the program runs.
fn exec_result(failure: &OwnedFd) -> Result<(), Verdict> {
    let mut errno = [0; 4];
    match io::read(failure, &mut errno) {
        Ok(0) => Ok(()),
        Ok(_) => Err(failed(Stage::Exec)(Errno::from_raw_os_error(
            i32::from_ne_bytes(errno),
        ))),
        Err(errno) => Err(failed(Stage::Exec)(errno)),
    }
}

/// In the child: everything that PID 1 has and a program must not, goes.
fn become_payload(streams: Streams, strings: &Strings, payload: &Payload<'_>) -> ! {
    let errno = match prepare(&streams, payload) {
        Err(errno) => errno,
        // SAFETY: `strings` has a null after the arguments and one after the environment; every string ends in NUL.
        Ok(()) => unsafe {
            let path = CStr::from_ptr(strings[0].cast());
            sys::execve(
                path,
                strings.as_ptr(),
                strings.as_ptr().add(payload.args + 1),
            )
        },
    };
    let _ = io::write(&streams.failure, &errno.raw_os_error().to_ne_bytes());
    sys::exit(127)
}

fn prepare(streams: &Streams, payload: &Payload<'_>) -> io::Result<()> {
    setsid()?;
    if payload.flags & TERMINAL != 0 {
        // Opened by the leader of a session without one, it becomes the controlling terminal.
        let terminal = open(TERMINAL_PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        use_streams(&terminal, &terminal, &terminal)?;
    } else {
        use_streams(&streams.stdin, &streams.stdout, &streams.stderr)?;
    }
    sys::iopl(0)?;
    signals::unblock();
    if payload.uid | payload.gid != 0 {
        sys::become_user(payload.uid, payload.gid)?;
    }
    Ok(())
}

fn use_streams(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)
}

/// Waits until all that was written to the terminal is on its way.
pub(crate) fn drain_terminal(payload: &Payload<'_>) {
    if payload.flags & TERMINAL != 0
        && let Ok(terminal) = open(
            TERMINAL_PATH,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    {
        // What cannot be drained is lost, and the verdict is worth more.
        let _ = rustix::termios::tcdrain(terminal);
    }
}
