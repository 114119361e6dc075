//! What kind of KVM this host has.

use super::schema::Kind;
use crate::error::{Error, Result};
use kvm_ioctls::Kvm;
use std::arch::x86_64::__cpuid;
use std::io;
use std::time::{Duration, Instant};

/// Leaf 1, ECX.
const VMX: u32 = 1 << 5;
/// Leaf 0x8000_0001, ECX.
const SVM: u32 = 1 << 2;
/// Leaf 0x4000_0000, EBX, ECX, EDX: how QEMU's software CPU signs.
const TCG: [u32; 3] = [
    u32::from_le_bytes(*b"TCGT"),
    u32::from_le_bytes(*b"CGTC"),
    u32::from_le_bytes(*b"GTCG"),
];

/// Tells by the processor: without virtualization KVM can only emulate; a processor that QEMU emulates is a lab's.
#[must_use]
pub fn kind() -> Kind {
    let basic = __cpuid(1);
    let extended = __cpuid(0x8000_0001);
    if basic.ecx & VMX == 0 && extended.ecx & SVM == 0 {
        return Kind::Software;
    }
    let hypervisor = __cpuid(0x4000_0000);
    if [hypervisor.ebx, hypervisor.ecx, hypervisor.edx] == TCG {
        Kind::Lab
    } else {
        Kind::Hardware
    }
}

/// The version of the API of this host's KVM (`KVM_GET_API_VERSION`).
///
/// # Errors
/// [`crate::Error::NoKvm`].
pub fn api_version() -> Result<i32> {
    Ok(open()?.get_api_version())
}

/// How long `KVM_CREATE_VM` takes: the median of a few.
///
/// # Errors
/// [`crate::Error::NoKvm`], [`crate::Error::Kvm`].
pub fn creation() -> Result<Duration> {
    const TIMES: usize = 5;
    let kvm = open()?;
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let vm = kvm
            .create_vm()
            .map_err(crate::error::kvm("KVM_CREATE_VM"))?;
        took.push(began.elapsed());
        drop(vm);
    }
    took.sort();
    Ok(took[TIMES / 2])
}

/// An open /dev/kvm.
///
/// # Errors
/// [`crate::Error::NoKvm`].
pub(crate) fn open() -> Result<Kvm> {
    Kvm::new().map_err(|error| Error::NoKvm(io::Error::from(error).kind()))
}
