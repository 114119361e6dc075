//! From registers and a stack to a call chain. Both are the guest's to forge: every walk is bounded.

mod frames;
pub(crate) mod orc;
pub(crate) mod scan;
pub(crate) mod stack;
mod unwinder;

#[cfg(any(test, fuzzing))]
pub use stack::{Registers, Stack};
pub use unwinder::Unwinder;
