//! A boot watched from outside: the vCPU is interrupted at a fixed rate, and where it was is read from its registers
//! and its stack. Nothing here runs unless a trace was asked for.
//!
//! The runner collects (`collector`) and writes what it saw ([`raw`]); whoever explains it has [`image`] for names.

pub(crate) mod collector;
pub(crate) mod image;
pub mod raw;
pub(crate) mod stamps;
pub(crate) mod unwind;

pub use image::Image;

#[cfg(test)]
mod tests;
