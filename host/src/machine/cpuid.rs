//! The results of the guest's CPUID instruction.

use crate::error::{Result, kvm};
use kvm_bindings::{
    CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2,
};
use kvm_ioctls::Kvm;

/// Leaf 1, ECX: a local APIC timer that fires at a TSC value, so that no timer needs to be calibrated.
const TSC_DEADLINE: u32 = 1 << 24;

/// Leaf 1, ECX: running under a hypervisor.
const HYPERVISOR: u32 = 1 << 31;

/// What KVM supports, with the TSC-deadline timer that KVM's local APIC always has but does not always list.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub(super) fn for_guest(kvm_fd: &Kvm) -> Result<CpuId> {
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
pub(super) fn xsave_states(cpuid: &CpuId) -> u64 {
    cpuid
        .as_slice()
        .iter()
        .find(|entry| entry.function == 0xd && entry.index == 0)
        .map_or(0, |entry| u64::from(entry.edx) << 32 | u64::from(entry.eax))
}

/// Makes the answers those of processor `id` of `cpus`: one package with one core for each processor, which share the
/// third level of cache.
///
/// Only leaf 0xb describes this in full, and both of its levels replace whatever KVM lists: for an AMD processor without
/// that leaf KVM lists an empty first level, by which each processor would be a package. The leaves that would say more,
/// 0x1f and 0x8000_0026, are removed, and read as zero.
///
/// Sources: Intel SDM volume 2, CPUID (leaves 1, 4, 0xb, 0x1f); AMD APM volume 3, appendix E (0x8000_0001, 0x8000_0008,
/// 0x8000_001d, 0x8000_001e, 0x8000_0026).
///
/// # Errors
/// [`crate::Error::Kvm`] if KVM's list is full.
pub(super) fn set_topology(cpuid: &mut CpuId, id: u32, cpus: u32) -> Result<()> {
    /// Leaf 0x8000_0001, ECX, AMD's: the package's processors are cores, not threads.
    const CORES_ALONE: u32 = 1 << 1;
    let bits = cpus.next_power_of_two().trailing_zeros();
    // A level of cache is a core's own unless it is the third; bits 25-14 hold how many others share it.
    let shared = |cache: u32| {
        let others = if cache >> 5 & 7 == 3 { cpus - 1 } else { 0 };
        cache & !(0xfff << 14) | others << 14
    };
    let mut entries = cpuid.as_slice().iter();
    let amd = entries.any(|entry| entry.function == 0 && AMDS.contains(&entry.edx.to_le_bytes()));
    cpuid.retain(|entry| !matches!(entry.function, 0xb | 0x1f | 0x8000_0026));
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ebx = entry.ebx & 0xffff | cpus << 16 | id << 24;
                // More than one processor in the package.
                entry.edx |= 1 << 28;
            }
            // In bits 31-26, cores in the package.
            4 if entry.eax & 0x1f != 0 => {
                entry.eax = shared(entry.eax) & 0x03ff_ffff | ((1 << bits) - 1) << 26;
            }
            0x8000_0001 if amd => entry.ecx |= CORES_ALONE,
            0x8000_0008 => entry.ecx = entry.ecx & !0xf0ff | bits << 12 | (cpus - 1),
            0x8000_001d if entry.eax & 0x1f != 0 => entry.eax = shared(entry.eax),
            0x8000_001e => {
                entry.eax = id;
                entry.ebx = id;
                entry.ecx = 0;
            }
            _ => {}
        }
    }
    // Threads of a core, one; cores of the package.
    for (index, (shift, count, kind)) in (0..).zip([(0, 1, 1), (bits, cpus, 2)]) {
        let level = kvm_cpuid_entry2 {
            function: 0xb,
            index,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax: shift,
            ebx: count,
            ecx: kind << 8 | index,
            edx: id,
            ..Default::default()
        };
        let full = |_| kvm("KVM_SET_CPUID2")(kvm_ioctls::Error::new(libc::E2BIG));
        cpuid.push(level).map_err(full)?;
    }
    Ok(())
}

/// The ends of AMD's and Hygon's names in leaf 0: AuthenticAMD, HygonGenuine.
const AMDS: [[u8; 4]; 2] = [*b"enti", *b"nGen"];

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        }
    }

    /// What KVM lists of QEMU's EPYC, and of an Intel processor with six cores of two threads.
    fn listed() -> [CpuId; 2] {
        let amd = [
            entry(0, 0, [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65]),
            entry(1, 0, [0x0080_0f12, 0x0800, 0xf7f8_3203, 0x078b_fbfd]),
            entry(0xb, 0, [0; 4]),
            entry(0x8000_0001, 0, [0x0080_0f12, 0, 0x75, 0x2dd3_fbfd]),
            entry(0x8000_0008, 0, [0x0028_3028, 0x0200_0000, 0, 0]),
            entry(0x8000_001d, 2, [0x43, 0x01c0_003f, 0x3ff, 0]),
            entry(0x8000_001d, 3, [0x163 | 7 << 14, 0x03c0_003f, 0x1fff, 6]),
            entry(0x8000_001e, 0, [0; 4]),
        ];
        let intel = [
            entry(0, 0, [0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
            entry(1, 0, [0x0009_06ea, 0x0010_0800, 0, 0]),
            entry(4, 3, [0x1c03_c163, 0x02c0_003f, 0x2fff, 6]),
            entry(0xb, 0, [1, 2, 0x100, 5]),
            entry(0xb, 1, [4, 12, 0x201, 5]),
            entry(0xb, 2, [0, 0, 2, 5]),
            entry(0x1f, 0, [1, 2, 0x100, 5]),
            entry(0x8000_0001, 0, [0, 0, 0x121, 0x2c10_0800]),
        ];
        [&amd[..], &intel].map(|entries| CpuId::from_entries(entries).unwrap())
    }

    fn leaf(cpuid: &CpuId, function: u32, index: u32) -> Option<kvm_cpuid_entry2> {
        let mut entries = cpuid.as_slice().iter();
        let is_it = |entry: &&kvm_cpuid_entry2| (entry.function, entry.index) == (function, index);
        entries.find(is_it).copied()
    }

    #[test]
    fn processors_are_cores_of_one_package() {
        for (mut cpuid, amd) in listed().into_iter().zip([true, false]) {
            for (cpus, bits) in [(2, 1), (3, 2), (4, 2), (32, 5)] {
                for id in 0..cpus {
                    set_topology(&mut cpuid, id, cpus).unwrap();
                    let level = |index| leaf(&cpuid, 0xb, index).unwrap();
                    let told = [level(0), level(1)].map(|one| (one.eax, one.ebx, one.ecx, one.edx));
                    assert_eq!(told, [(0, 1, 0x100, id), (bits, cpus, 0x201, id)]);
                    assert_eq!(id >> bits, 0, "the package's number");
                    for function in [0x1f, 0x8000_0026] {
                        assert!(leaf(&cpuid, function, 0).is_none());
                    }
                    assert!(leaf(&cpuid, 0xb, 2).is_none());
                    let first = leaf(&cpuid, 1, 0).unwrap();
                    assert_eq!((first.ebx >> 16 & 0xff, first.ebx >> 24), (cpus, id));
                    let more = leaf(&cpuid, 0x8000_0001, 0).unwrap();
                    assert_eq!(more.ecx & 2 != 0, amd);
                }
            }
            let others = |function, index| {
                let cache = leaf(&cpuid, function, index)?;
                Some((cache.eax >> 14 & 0xfff, cache.eax >> 26))
            };
            if amd {
                assert_eq!(others(0x8000_001d, 2), Some((0, 0)));
                assert_eq!(others(0x8000_001d, 3), Some((31, 0)));
                let sizes = leaf(&cpuid, 0x8000_0008, 0).unwrap();
                assert_eq!(sizes.ecx, 5 << 12 | 31);
                assert_eq!(leaf(&cpuid, 0x8000_001e, 0).unwrap().eax, 31);
            } else {
                assert_eq!(others(4, 3), Some((31, 31)));
            }
        }
    }
}
