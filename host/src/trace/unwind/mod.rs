//! Finds the call chain for registers and a stack. The guest can forge both, so every walk is bounded.

mod frames;
pub(crate) mod orc;
pub(crate) mod scan;
pub(crate) mod stack;
mod unwinder;

#[cfg(any(test, fuzzing))]
pub use stack::{Registers, Stack};
pub use unwinder::Unwinder;
