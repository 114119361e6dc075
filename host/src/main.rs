//! The program `jiffy`.
//!
//! Its entry is C's: Rust's own start makes a dozen system calls more (it reads /proc/self/maps to guard the stack and
//! installs handlers for its overflow), 0.05 of the 0.95 lab ms from fork to a guest's first byte.
// The test harness has a main of its own, without which no test of this program would run.
#![cfg_attr(not(test), no_main)]

mod cli;
mod command;
mod device_options;
mod many;
mod runs;

use jiffy::clock::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use std::ffi::{c_char, c_int};

/// Bad usage.
const USAGE: u8 = 2;

/// C's main. The standard library keeps the arguments by itself.
#[allow(unsafe_code)]
// SAFETY: the only definition of the name that C's start calls, with the type that it has there.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let clock = Clock::since_process_start();
    // SAFETY: no handler is installed; a write to a closed pipe becomes an error, which is handled where it occurs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    fill_standard_descriptors();
    let status = match cli::parse(std::env::args_os().skip(1)) {
        Ok(cli::Command::Run(run)) => command::run(*run, clock),
        Ok(cli::Command::Probe(json)) => command::probe(json),
        Ok(cli::Command::Print(text)) => command::print(&text),
        Err(error) => {
            command::complain(&format!("{error}\nTry `jiffy --help`."));
            USAGE
        }
    };
    c_int::from(status)
}

/// Opens what the caller closed of descriptors 0 to 2, lest a file of ours get a number that is written to.
fn fill_standard_descriptors() {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut polled = [
        PollFd::new(&stdin, PollFlags::empty()),
        PollFd::new(&stdout, PollFlags::empty()),
        PollFd::new(&stderr, PollFlags::empty()),
    ];
    // Closed descriptors are all that this can find.
    if poll(&mut polled, Some(&Timespec::default())) == Ok(0) {
        return;
    }
    for one in polled {
        if one.revents().contains(PollFlags::NVAL)
            && let Ok(file) = open("/dev/null", OFlags::RDWR, Mode::empty())
        {
            // A new descriptor has the least number that is free.
            std::mem::forget(file);
        }
    }
}
