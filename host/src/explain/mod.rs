//! What is known of a guest's end, from its registers, its symbols, its memory and its kernel log.

pub(crate) mod diagnose;
pub(crate) mod dmesg;
mod kernel_memory;
pub(crate) mod power;
pub(crate) mod symbols;
