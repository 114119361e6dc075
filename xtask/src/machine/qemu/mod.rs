//! QEMU: running a machine, counting a boot's instructions, and the microvm machine.

mod ended;
mod instructions;
mod machine;
pub(crate) mod microvm;
mod port;

pub(crate) use ended::{Ended, judge};
pub(crate) use instructions::{Counted, until_ready};
pub(crate) use machine::{Machine, run};
