//! The program `jiffy`.
//!
//! Its entry is C's `main`, because Rust's own start makes a dozen more system calls: it reads /proc/self/maps to guard the
//! stack, and installs handlers for its overflow.
// The tests' harness has a main of its own.
#![cfg_attr(not(test), no_main)]

mod cli;
mod command;
mod config;
mod io;
mod many;
mod runs;

use jiffy::report::Clock;
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
    io::fill_standard_descriptors();
    let status = match cli::parse(std::env::args_os().skip(1)) {
        Ok(cli::Command::Run(run)) => command::run(*run, clock),
        Ok(cli::Command::Probe(json)) => command::probe(json),
        Ok(cli::Command::Print(text)) => {
            io::print(&text);
            0
        }
        Err(error) => {
            io::complain(&format!("{error}\nTry `jiffy --help`."));
            USAGE
        }
    };
    c_int::from(status)
}
