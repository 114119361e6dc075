//! What is put into guest memory before the guest runs: the kernel, the initramfs, and the structures by which the kernel learns of its machine.

pub(crate) mod boot_params;
pub mod command_line;
pub(crate) mod entry;
pub(crate) mod initramfs;
pub(crate) mod kernel;
pub(crate) mod mptable;
mod note;
pub(crate) mod pvh;
pub(crate) mod seed;
