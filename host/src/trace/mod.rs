//! A boot watched from outside: the vCPU is interrupted at a fixed rate, and where it was is read from its registers
//! and its stack. Nothing here runs unless a trace was asked for.
//!
//! The runner collects a trace and writes it as [`raw::Trace`]; [`Image`] has the names to explain it by.

pub(crate) mod collector;
pub(crate) mod image;
pub mod kallsyms;
pub mod raw;
mod reason;
pub(crate) mod stamps;
pub(crate) mod unwind;

pub use image::Image;

#[cfg(test)]
mod tests;
