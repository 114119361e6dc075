//! QEMU: the machine that it emulates, counting a boot's instructions in it, and its microvm.

mod instructions;
mod machine;
pub(crate) mod microvm;

pub(crate) use instructions::{Counted, until_ready};
pub(crate) use machine::{Ended, Machine, run};
