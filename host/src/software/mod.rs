//! Software KVM: completes the instructions that KVM's emulator cannot.
//!
//! On a processor without virtualization KVM runs guest supervisor code in its instruction emulator, which lacks
//! some. KVM then exits with an emulation failure, and this folder does the instruction's work. It is entered on
//! no other occasion, so hardware KVM never pays for it. An instruction that may not access its memory, or that a
//! processor refuses for another reason, raises the exception that it raises there.
//!
//! Source of what instructions do: AMD64 Architecture Programmer's Manual, volumes 3 and 4.

mod complete;
mod cpu;
mod exception;
mod instruction;
mod integer;
mod state;
mod walk;
mod xsave;

pub(crate) use complete::{Assists, complete};
