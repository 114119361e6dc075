//! Which processors of the machine share what: one package, a core for each processor.

use super::Vendor;
use crate::error::{Result, kvm};
use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

/// Makes the answers those of processor `id` of `cpus`: one package with one core for each processor, which share the
/// third level of cache. One processor alone has no levels to describe: without leaf 0xb its kernel reads none, each of
/// which would be an exit.
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
pub(in crate::machine) fn set(cpuid: &mut CpuId, id: u32, cpus: u32) -> Result<()> {
    /// Leaf 0x8000_0001, ECX, AMD's: the package's processors are cores, not threads.
    const CORES_ALONE: u32 = 1 << 1;
    let bits = cpus.next_power_of_two().trailing_zeros();
    // A level of cache is a core's own unless it is the third; bits 25-14 hold how many others share it.
    let shared = |cache: u32| {
        let others = if cache >> 5 & 7 == 3 { cpus - 1 } else { 0 };
        cache & !(0xfff << 14) | others << 14
    };
    let amd = Vendor::of(cpuid.as_slice()) == Vendor::Amd;
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ebx = entry.ebx & 0xffff | cpus << 16 | id << 24;
                // More than one processor in the package.
                entry.edx = entry.edx & !(1 << 28) | u32::from(cpus > 1) << 28;
            }
            // In bits 31-26, cores in the package.
            4 if entry.eax & 0x1f != 0 => {
                entry.eax = shared(entry.eax) & 0x03ff_ffff | ((1 << bits) - 1) << 26;
            }
            0x8000_0001 if amd => {
                entry.ecx = entry.ecx & !CORES_ALONE | if cpus > 1 { CORES_ALONE } else { 0 };
            }
            // What leaf 0xb has to say follows.
            0xb | 0x1f | 0x8000_0026 => {
                (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
            }
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
    if cpus == 1 {
        return Ok(());
    }
    cpuid.retain(|entry| !matches!(entry.function, 0xb | 0x1f | 0x8000_0026));
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
