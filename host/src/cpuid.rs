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

/// Makes the answers those of processor `id` of `cpus`: one package, of as many cores as there are processors.
///
/// Sources: Intel SDM volume 2, CPUID (leaves 1, 4, 0xb, 0x1f); AMD APM volume 3, appendix E (0x8000_0008 and
/// 0x8000_001e).
pub fn set_topology(cpuid: &mut CpuId, id: u32, cpus: u32) {
    let bits = cpus.next_power_of_two().trailing_zeros();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ebx = entry.ebx & 0xffff | cpus << 16 | id << 24;
                // More than one processor in the package.
                entry.edx |= 1 << 28;
            }
            // Cores in the package; a level of cache is a core's own unless it is the third.
            4 if entry.eax & 0x1f != 0 => {
                let shared = if entry.eax >> 5 & 7 == 3 { cpus - 1 } else { 0 };
                entry.eax = entry.eax & 0x3fff | shared << 14 | ((1 << bits) - 1) << 26;
            }
            0xb | 0x1f => {
                // Level 0: threads of a core, one. Level 1: cores of the package.
                let (shift, count, kind) = match entry.index {
                    0 => (0, 1, 1),
                    1 => (bits, cpus, 2),
                    _ => (0, 0, 0),
                };
                entry.eax = shift;
                entry.ebx = count;
                entry.ecx = kind << 8 | entry.index;
                entry.edx = id;
            }
            0x8000_0008 => entry.ecx = entry.ecx & !0xf0ff | bits << 12 | (cpus - 1),
            0x8000_001e => {
                entry.eax = id;
                entry.ebx = id;
                entry.ecx = 0;
            }
            _ => {}
        }
    }
}
