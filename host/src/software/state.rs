//! The extended state of a vCPU as KVM keeps it: in the standard format, at the offsets of CPUID leaf 0xd.

use crate::base::bytes::{u32_at, u64_at};
use crate::error::{Result, kvm};
use kvm_ioctls::VcpuFd;
use std::arch::x86_64::__cpuid_count;
use std::ops::Range;

/// What KVM_GET_XSAVE fills, in bytes.
pub(super) const AREA: usize = 4096;

/// The legacy area and the header, which are always there.
pub(super) const LEGACY: usize = 512;
pub(super) const HEADER_END: usize = LEGACY + 64;

/// Where MXCSR and its mask are in the legacy area.
pub(super) const MXCSR: usize = 24;

/// The number of PKRU's component.
const PKRU: u32 = 9;

/// The bits of MXCSR of a processor whose mask reads as 0 (volume 1, section 11.6.6).
const MXCSR_MASK: u32 = 0xffbf;

/// One extended component: where the standard format has it, and whether the compacted one aligns it.
pub(super) struct Component {
    pub(super) range: Range<usize>,
    pub(super) aligned: bool,
}

impl Component {
    /// By CPUID leaf 0xd; `None` for one that the processor lacks or keeps only for supervisors.
    pub(super) fn of(number: u32) -> Option<Self> {
        let leaf = __cpuid_count(0xd, number);
        let (size, start) = (leaf.eax as usize, leaf.ebx as usize);
        let range = start..start + size;
        let fits = size > 0 && start >= HEADER_END && range.end <= AREA;
        fits.then_some(Component {
            range,
            aligned: leaf.ecx & 2 != 0,
        })
    }
}

/// The state of a vCPU.
#[derive(Clone)]
pub(super) struct State(pub(super) [u8; AREA]);

impl State {
    pub(super) fn get(vcpu: &VcpuFd) -> Result<Self> {
        let xsave = vcpu.get_xsave().map_err(kvm("KVM_GET_XSAVE"))?;
        let mut bytes = [0; AREA];
        for (into, word) in bytes.chunks_exact_mut(4).zip(xsave.region) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        Ok(State(bytes))
    }

    #[allow(unsafe_code)]
    pub(super) fn set(&self, vcpu: &VcpuFd) -> Result<()> {
        let mut xsave = kvm_bindings::kvm_xsave::default();
        for (word, bytes) in xsave.region.iter_mut().zip(self.0.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        // SAFETY: KVM reads more than 4096 bytes only when a dynamic feature (AMX) was enabled by arch_prctl,
        // which the runner never does.
        unsafe { vcpu.set_xsave(&xsave) }.map_err(kvm("KVM_SET_XSAVE"))
    }

    /// XINUSE: the components that are not in their initial state.
    pub(super) fn in_use(&self) -> u64 {
        u64_at(&self.0, LEGACY).unwrap_or(0)
    }

    pub(super) fn set_in_use(&mut self, bits: u64) {
        self.0[LEGACY..LEGACY + 8].copy_from_slice(&bits.to_le_bytes());
    }

    pub(super) fn mxcsr(&self) -> u32 {
        u32_at(&self.0, MXCSR).unwrap_or(0)
    }

    /// The bits that MXCSR may have.
    pub(super) fn mxcsr_mask(&self) -> u32 {
        match u32_at(&self.0, MXCSR + 4) {
            None | Some(0) => MXCSR_MASK,
            Some(mask) => mask,
        }
    }

    /// Users' rights to pages, by protection key.
    pub(super) fn pkru(&self) -> u32 {
        let component = Component::of(PKRU).filter(|_| self.in_use() >> PKRU & 1 == 1);
        component
            .and_then(|component| u32_at(&self.0, component.range.start))
            .unwrap_or(0)
    }
}
