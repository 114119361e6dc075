//! Which features of what KVM lists a guest is told of.
//!
//! Sources: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; Documentation/virt/kvm/api.rst, "KVM_SET_CPUID2".

use super::CpuFeatures;
use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Leaf 1, ECX: VMX; a register that tells of the PMU; a local APIC timer that fires at a TSC value, so that no timer needs
/// to be calibrated; running under a hypervisor.
const VMX: u32 = 1 << 5;
const PDCM: u32 = 1 << 15;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;

/// Leaf 0x8000_0001, ECX: SVM, and the PMU's counters beyond the first four, of the processor, its package and its cache.
const SVM: u32 = 1 << 2;
const AMD_COUNTERS: u32 = 1 << 23 | 1 << 24 | 1 << 28;

/// AMX: its bits in leaf 7 (sub-leaf 0, EDX; sub-leaf 1, EAX and EDX), and the two states that XSAVE keeps of it.
const AMX: u32 = 1 << 22 | 1 << 24 | 1 << 25;
const AMX_FP16: u32 = 1 << 21;
const AMX_COMPLEX: u32 = 1 << 8;
const TILES: u32 = 1 << 17 | 1 << 18;

/// Adds what KVM always has and does not always list, and takes away what is incomplete or was not asked for.
pub(super) fn select(cpuid: &mut CpuId, wanted: CpuFeatures) {
    let mut amx = Amx::default();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ecx |= TSC_DEADLINE | HYPERVISOR;
                hide(&mut entry.ecx, VMX, wanted.nested);
                hide(&mut entry.ecx, PDCM, wanted.pmu);
            }
            0x8000_0001 => {
                hide(&mut entry.ecx, SVM, wanted.nested);
                hide(&mut entry.ecx, AMD_COUNTERS, wanted.pmu);
            }
            // Intel's PMU, and version 2 of AMD's.
            0xa | 0x8000_0022 if !wanted.pmu => clear(entry),
            0x8000_000a if !wanted.nested => clear(entry),
            7 | 0xd | 0x1d | 0x1e => amx.look_at(entry),
            _ => {}
        }
    }
    if amx.listed && !amx.whole {
        remove_amx(cpuid);
    }
}

/// What KVM lists of AMX.
#[derive(Default)]
struct Amx {
    /// Anything.
    listed: bool,
    /// Both states can be enabled. The second takes a permission that the runner does not ask for, and KVM of Linux 5.17 to
    /// 6.3 then lists the first alone, with which a kernel panics when it sets XCR0.
    whole: bool,
}

impl Amx {
    fn look_at(&mut self, entry: &kvm_cpuid_entry2) {
        self.listed |= match (entry.function, entry.index) {
            (7, 0) => entry.edx & AMX != 0,
            (7, 1) => entry.eax & AMX_FP16 != 0 || entry.edx & AMX_COMPLEX != 0,
            (0xd, 0) => {
                self.whole |= entry.eax & TILES == TILES;
                entry.eax & TILES != 0
            }
            (0xd, 17 | 18) | (0x1d | 0x1e, _) => true,
            _ => false,
        };
    }
}

fn hide(register: &mut u32, bits: u32, wanted: bool) {
    if !wanted {
        *register &= !bits;
    }
}

fn clear(entry: &mut kvm_cpuid_entry2) {
    (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
}

#[cold]
fn remove_amx(cpuid: &mut CpuId) {
    let is_tile =
        |entry: &kvm_cpuid_entry2| entry.function == 0xd && matches!(entry.index, 17 | 18);
    let of_amx = |entry: &kvm_cpuid_entry2| is_tile(entry) || matches!(entry.function, 0x1d | 0x1e);
    // The end of the largest area that XCR0 can ask for: of the state that ends last, or of the legacy part.
    let ends = |entry: &kvm_cpuid_entry2| entry.eax.saturating_add(entry.ebx);
    let states = cpuid.as_slice().iter();
    let users = states.filter(|entry| entry.function == 0xd && entry.index > 1 && entry.ebx > 0);
    let end = users.filter(|entry| !is_tile(entry)).map(ends).max();
    for entry in cpuid.as_mut_slice() {
        match (entry.function, entry.index) {
            (7, 0) => entry.edx &= !AMX,
            (7, 1) => {
                entry.eax &= !AMX_FP16;
                entry.edx &= !AMX_COMPLEX;
            }
            (0xd, 0) if entry.eax & TILES != 0 => {
                entry.eax &= !TILES;
                entry.ecx = end.unwrap_or(576);
            }
            _ => {}
        }
    }
    cpuid.retain(|entry| !of_amx(entry));
}
