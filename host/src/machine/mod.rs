//! The virtual machine: KVM's objects, the vCPUs' initial state, the run loop and what interrupts it.

pub(crate) mod cpuid;
pub(crate) mod exit;
mod msrs;
pub(crate) mod ports;
pub(crate) mod run;
mod segments;
pub(crate) mod signals;
pub(crate) mod stdin;
pub(crate) mod team;
mod timer;
pub(crate) mod tsc;
pub(crate) mod vcpu;
pub(crate) mod vm;
mod watchdog;
