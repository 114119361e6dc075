//! What is known of a guest that ended badly, from its registers, its symbols and its kernel log.

pub(crate) mod diagnose;
pub(crate) mod dmesg;
mod kernel_memory;
pub(crate) mod symbols;
