//! The least that the start of a virtual machine can cost: a program of a dozen system calls, to compare a runner with.

/// The program: a static x86-64 ELF. Its guest rings the doorbell, which puts a byte on standard output, and ends.
pub const FLOOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/floor"));
