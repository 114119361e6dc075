//! QEMU: the machine that it emulates, counting a boot's instructions in it, and its microvm.

mod ended;
mod instructions;
mod machine;
pub(crate) mod microvm;
mod port;

pub(crate) use ended::{Ended, judge};
pub(crate) use instructions::{Counted, until_ready};
pub(crate) use machine::{Machine, run};
