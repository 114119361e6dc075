//! What the guest's CPUID instruction answers: one policy for all processors, over what KVM supports.

mod features;
#[cfg(test)]
mod tests;
pub(super) mod topology;

use crate::error::{Result, ValueError, kvm};
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::Kvm;
use std::arch::x86_64::__cpuid;
use std::str::FromStr;

/// What a guest's processor has only on request, because a boot pays for it by reading more registers, each an exit, and
/// because few guests use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuFeatures {
    /// VMX or SVM, for virtual machines in the guest.
    pub nested: bool,
    /// The performance monitoring unit.
    pub pmu: bool,
}

impl CpuFeatures {
    /// As the option takes it; empty for none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.nested, self.pmu) {
            (true, true) => "nested,pmu",
            (true, false) => "nested",
            (false, true) => "pmu",
            (false, false) => "",
        }
    }
}

/// `nested`, `pmu`, or both with a comma between them.
impl FromStr for CpuFeatures {
    type Err = ValueError;

    fn from_str(text: &str) -> std::result::Result<Self, ValueError> {
        let mut features = CpuFeatures::default();
        for word in text.split(',') {
            match word {
                "nested" => features.nested = true,
                "pmu" => features.pmu = true,
                _ => return Err(ValueError::new(text, "nested, pmu or nested,pmu")),
            }
        }
        Ok(features)
    }
}

/// Whose processor it is, as far as that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vendor {
    Intel,
    /// Or Hygon, which makes AMD's.
    Amd,
    Other,
}

impl Vendor {
    /// By leaf 0, EDX: the second third of the name, `GenuineIntel`, `AuthenticAMD` or `HygonGenuine`.
    fn by_name(edx: u32) -> Self {
        match &edx.to_le_bytes() {
            b"ineI" => Vendor::Intel,
            b"enti" | b"nGen" => Vendor::Amd,
            _ => Vendor::Other,
        }
    }

    fn of(entries: &[kvm_cpuid_entry2]) -> Self {
        let name = entries.iter().find(|entry| entry.function == 0);
        name.map_or(Vendor::Other, |entry| Vendor::by_name(entry.edx))
    }

    /// Of the processor that this runs on.
    pub(super) fn of_host() -> Self {
        Vendor::by_name(__cpuid(0).edx)
    }
}

/// What KVM supports, as far as the policy lets guests have it.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub(super) fn for_guest(kvm_fd: &Kvm, wanted: CpuFeatures) -> Result<CpuId> {
    let mut cpuid = kvm_fd
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm("KVM_GET_SUPPORTED_CPUID"))?;
    features::select(&mut cpuid, wanted);
    Ok(cpuid)
}

/// The processor states that XSAVE can save, as bits of XCR0; none without XSAVE.
///
/// Source: Intel SDM volume 1, section 13.2 (leaf 0xd, sub-leaf 0).
#[must_use]
pub(super) fn xsave_states(cpuid: &CpuId) -> u64 {
    cpuid
        .as_slice()
        .iter()
        .find(|entry| entry.function == 0xd && entry.index == 0)
        .map_or(0, |entry| u64::from(entry.edx) << 32 | u64::from(entry.eax))
}
