//! Compiles the yardstick.

use std::process::ExitCode;

/// Static, at a fixed address: nothing is loaded or relocated, and the lab has no libc.
const ARGUMENTS: [&str; 6] = [
    "-O2",
    "-Wall",
    "-Werror",
    "-static",
    "-no-pie",
    "-Wl,--strip-all",
];

fn main() -> ExitCode {
    jiffy_cc::build("floor.c", "floor", &ARGUMENTS)
}
