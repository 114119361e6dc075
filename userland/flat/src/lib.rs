//! The halting kernel.
