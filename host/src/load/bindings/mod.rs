//! Structures that boot protocols define, generated from the kernel's headers by `cargo xtask bindings`.

pub(super) mod mpspec;
pub(super) mod start_info;
