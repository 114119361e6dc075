//! The runner.
pub mod payload;
