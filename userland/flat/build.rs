//! Assembles and links the halting kernel.

use std::process::ExitCode;

/// No libc, no start files, no dynamic loader, and a fixed address.
const ARGUMENTS: [&str; 7] = [
    "-nostdlib",
    "-static",
    "-no-pie",
    // The script says what is in the file; nothing else is wanted.
    "-Wl,--script=flat.ld",
    "-Wl,--build-id=none",
    // File offsets need not agree with addresses modulo a page: a VMM reads the file, it does not map it.
    "-Wl,--nmagic",
    // Neither symbols nor section names are of use to a VMM.
    "-Wl,--strip-all",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=flat.ld");
    jiffy_cc::build("flat.S", "flat", &ARGUMENTS)
}
