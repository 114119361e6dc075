//! The program's descriptors: what it prints, the files that it opens, what the caller left open.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What keeps a command from its result.
pub(crate) type Error = Box<dyn std::error::Error>;

/// Prints a line. It is not an error if nobody reads it.
pub(crate) fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Says what is wrong. If that fails, there is nowhere left to say so.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "jiffy: {text}");
}

/// Whether a file's name means standard output.
pub(crate) fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// Creates a file for a result; `-` is standard output.
pub(crate) fn create(file: &Path) -> Result<Box<dyn Write>, Error> {
    if is_stdout(file) {
        return Ok(Box::new(io::stdout()));
    }
    let created =
        File::create(file).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(Box::new(created))
}

/// Opens a file to be read.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    Ok(File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
}

/// Duplicates a descriptor, behind the standard ones.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// Duplicates a descriptor that the caller left open for us.
#[allow(unsafe_code)]
pub(crate) fn inherited(fd: i32) -> Result<OwnedFd, Error> {
    // SAFETY: the descriptor is only used for this one call, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)
        .map_err(|error| format!("--ready-fd {fd}: {error}"))?)
}

/// Opens /dev/null for the descriptors from 0 to 2 that the caller closed, lest one of our files get a number that is
/// written to.
pub(crate) fn fill_standard_descriptors() {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut polled = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty()));
    // Without events to wait for, the only thing to be found is a closed descriptor.
    if poll(&mut polled, Some(&Timespec::default())) == Ok(0) {
        return;
    }
    for one in polled {
        if one.revents().contains(PollFlags::NVAL)
            && let Ok(file) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())
        {
            // A new descriptor gets the lowest number that is free.
            std::mem::forget(file);
        }
    }
}

/// Closes what the caller left open, except the standard descriptors and the one that was named: a guest that got control
/// of the runner could use it. Kernels before 5.9 cannot do this, and leave it open.
#[allow(unsafe_code)]
pub(crate) fn close_inherited(ready_fd: Option<i32>) {
    let named = ready_fd.map_or(2, |fd| fd.max(2)).cast_unsigned();
    for (first, last) in [(3, named.saturating_sub(1)), (named.max(2) + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: nothing of ours is open yet but the standard streams.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}
