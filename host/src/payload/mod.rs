//! The initramfs: PID 1, and the program it runs with everything that program needs from this machine.
//!
//! ```text
//! pack      the two archives: the base (PID 1), followed by the payload
//! program   the files that a program needs from this machine: interpreters and libraries
//! search    finds programs and libraries: PATH, and the dynamic loader's rules
//! interpreter  the library directory of an interpreter
//! settings  environment, working directory, user and host name
//! elf       the interpreter and libraries that an ELF file asks for
//! tree      an archive's files, copied from this machine with their symbolic links
//! cpio      the archive format
//! ```
//!
//! Packing never runs a program to find out what it needs, so it is safe for untrusted programs.

mod cpio;
mod elf;
mod error;
mod interpreter;
mod pack;
mod program;
mod search;
mod settings;
#[cfg(test)]
mod tests;
mod tree;

pub use error::Error;
pub use pack::{
    base, directory, environment, files, guest_environment, in_guest, programs, with_payload,
};
pub use settings::Settings;
