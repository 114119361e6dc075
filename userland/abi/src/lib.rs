//! The contract between the guest (PID 1, the flat kernel) and the runner: I/O ports, verdicts and the payload file.
//!
//! Everything the guest says, it says by writing bytes to an I/O port, so the same guest also runs under QEMU:
//! each output port behaves as QEMU's `isa-debugcon` does, [`port::EXIT`] as its `isa-debug-exit`.
#![no_std]
#![forbid(unsafe_code)]

pub mod payload;
pub mod port;
pub mod power;
pub mod trace;
pub mod verdict;
