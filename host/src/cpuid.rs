//! What the guest's CPUID instruction answers.

use crate::error::{Result, kvm};
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::Kvm;

/// Leaf 1, ECX: a local APIC timer that fires at a TSC value, so that no timer needs to be calibrated.
const TSC_DEADLINE: u32 = 1 << 24;

/// Leaf 1, ECX: running under a hypervisor.
const HYPERVISOR: u32 = 1 << 31;

/// What KVM supports, with the TSC-deadline timer that KVM's local APIC always has but does not always list.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub fn for_guest(kvm_fd: &Kvm) -> Result<CpuId> {
    let mut cpuid = kvm_fd
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm("KVM_GET_SUPPORTED_CPUID"))?;
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ecx |= TSC_DEADLINE | HYPERVISOR;
                // Bits 31-24: the initial APIC id, that of the host's processor until it is set; one vCPU has id 0.
                entry.ebx &= 0x00ff_ffff;
            }
            // EDX: the x2APIC id of the extended topology leaves, likewise.
            0xb | 0x1f => entry.edx = 0,
            _ => {}
        }
    }
    Ok(cpuid)
}

/// The processor states that XSAVE can save, as bits of XCR0; none without XSAVE.
///
/// Source: Intel SDM volume 1, section 13.2 (leaf 0xd, sub-leaf 0).
#[must_use]
pub fn xsave_states(cpuid: &CpuId) -> u64 {
    cpuid
        .as_slice()
        .iter()
        .find(|entry| entry.function == 0xd && entry.index == 0)
        .map_or(0, |entry| u64::from(entry.edx) << 32 | u64::from(entry.eax))
}
