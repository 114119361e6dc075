//! What is known of a guest's end, from its registers, its symbols, its memory and its kernel log.

pub(crate) mod diagnose;
pub(crate) mod dmesg;
pub(crate) mod power;
pub(crate) mod symbols;
