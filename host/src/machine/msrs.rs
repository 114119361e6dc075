//! Model-specific registers whose values after a reset are not what a kernel expects of firmware.

use super::cpuid::{CpuFeatures, Vendor};
use crate::error::{Result, kvm};
use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

/// IA32_MISC_ENABLE, and its bits: fast string operations; performance monitoring is there; branch trace storage and
/// precise event sampling are not (Intel SDM volume 4, table 2-2).
const MISC_ENABLE: u32 = 0x1a0;
const FAST_STRING: u64 = 1;
const MONITORING: u64 = 1 << 7;
const NO_BRANCH_TRACE: u64 = 1 << 11;
const NO_EVENT_SAMPLING: u64 = 1 << 12;

/// What these registers of a vCPU are to be.
fn values(vendor: Vendor, features: CpuFeatures) -> Option<kvm_msr_entry> {
    let pmu = if features.pmu { MONITORING } else { 0 };
    // Without fast strings, a kernel uses neither `rep movs` nor ERMS on an Intel processor.
    (vendor == Vendor::Intel).then_some(kvm_msr_entry {
        index: MISC_ENABLE,
        data: FAST_STRING | pmu | NO_BRANCH_TRACE | NO_EVENT_SAMPLING,
        ..Default::default()
    })
}

/// Sets them.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub(super) fn set(vcpu: &VcpuFd, features: CpuFeatures) -> Result<()> {
    let call = "KVM_SET_MSRS(IA32_MISC_ENABLE)";
    let invalid = || kvm(call)(kvm_ioctls::Error::new(libc::EINVAL));
    let Some(entry) = values(Vendor::of_host(), features) else {
        return Ok(());
    };
    let msrs = Msrs::from_entries(&[entry]).map_err(|_| invalid())?;
    // KVM answers how many it has set.
    match vcpu.set_msrs(&msrs).map_err(kvm(call))? {
        1 => Ok(()),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intel_guests_have_fast_strings_and_others_no_such_register() {
        let value = |vendor, pmu| {
            let features = CpuFeatures { nested: false, pmu };
            values(vendor, features).map(|entry| (entry.index, entry.data))
        };
        assert_eq!(value(Vendor::Intel, false), Some((0x1a0, 0x1801)));
        assert_eq!(value(Vendor::Intel, true), Some((0x1a0, 0x1881)));
        assert_eq!(value(Vendor::Amd, true), None);
        assert_eq!(value(Vendor::Other, false), None);
    }
}
