//! The initramfs: PID 1, and the program it runs with everything that program needs from this machine.
//!
//! ```text
//! pack      the two archives: the base (PID 1) and, behind it, the payload
//! program   what a program needs from this machine: scripts' interpreters, libraries
//! search    where programs and libraries are found: PATH, and the dynamic loader's rules
//! elf       what an ELF file says that it needs
//! tree      the files of an archive, taken from this machine with their symlinks
//! cpio      the archive's bytes
//! ```
//!
//! No program is run to find out what it needs, so packing is safe for programs that nobody trusts.

mod cpio;
mod elf;
mod error;
mod pack;
mod program;
mod search;
#[cfg(test)]
mod tests;
mod tree;

pub use error::Error;
pub use pack::{
    base, directory, environment, files, guest_environment, in_guest, programs, with_payload,
};
