//! Where guests run: on this machine's KVM, in the lab, in QEMU.

pub(crate) mod kvm;
pub(crate) mod lab;
pub(crate) mod qemu;
