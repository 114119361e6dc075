//! XSAVE and its relatives: the vCPU's extended state to and from guest memory.
//!
//! KVM keeps the state in the standard format, at the offsets of CPUID leaf 0xd; the compacted format packs the
//! components that are asked for (volume 2, "Compacted Format" of the XSAVE area).

use super::cpu::Cpu;
use super::instruction::{Instruction, Operand};
use crate::error::{Result, kvm};
use std::arch::x86_64::__cpuid_count;

/// The legacy area and the header, which are always there.
const LEGACY: usize = 512;
const HEADER: usize = 64;

/// Components 0 and 1: the x87 state and MXCSR with the XMM registers, both in the legacy area.
const X87: u64 = 1;
const SSE: u64 = 2;

/// Offset of MXCSR and its mask in the legacy area, and of the XMM registers.
const MXCSR: usize = 24;
const XMM: usize = 160;

/// Bit 63 of XCOMP_BV: the area is compacted.
const COMPACTED: u64 = 1 << 63;

/// What KVM_GET_XSAVE fills, in bytes.
const AREA: usize = 4096;

/// One extended component: where KVM keeps it, and its place in a compacted area.
struct Component {
    offset: usize,
    size: usize,
    aligned: bool,
}

impl Component {
    /// By CPUID leaf 0xd; `None` for one that the processor lacks or keeps only for supervisors.
    fn of(number: u32) -> Option<Self> {
        let leaf = __cpuid_count(0xd, number);
        let component = Component {
            size: leaf.eax as usize,
            offset: leaf.ebx as usize,
            aligned: leaf.ecx & 2 != 0,
        };
        let end = component.offset + component.size;
        (component.size > 0 && component.offset >= LEGACY + HEADER && end <= AREA)
            .then_some(component)
    }
}

/// The components in `bits`, each with its number, offset in KVM's area and offset in a compacted area.
fn compacted(bits: u64) -> Vec<(u32, Component, usize)> {
    let mut at = LEGACY + HEADER;
    let mut components = Vec::new();
    for number in (2..63).filter(|number| bits >> number & 1 == 1) {
        let Some(component) = Component::of(number) else {
            continue;
        };
        if component.aligned {
            at = at.next_multiple_of(64);
        }
        let size = component.size;
        components.push((number, component, at));
        at += size;
    }
    components
}

/// The state of a vCPU in the standard format.
struct State([u8; AREA]);

impl State {
    fn get(cpu: &Cpu<'_>) -> Result<Self> {
        let xsave = cpu.vcpu.get_xsave().map_err(kvm("KVM_GET_XSAVE"))?;
        let mut bytes = [0; AREA];
        for (into, word) in bytes.chunks_exact_mut(4).zip(xsave.region) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        Ok(State(bytes))
    }

    #[allow(unsafe_code)]
    fn set(&self, cpu: &Cpu<'_>) -> Result<()> {
        let mut xsave = kvm_bindings::kvm_xsave::default();
        for (word, bytes) in xsave.region.iter_mut().zip(self.0.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        // SAFETY: KVM reads more than 4096 bytes only when a dynamic feature (AMX) was enabled by arch_prctl,
        // which the runner never does.
        unsafe { cpu.vcpu.set_xsave(&xsave) }.map_err(kvm("KVM_SET_XSAVE"))
    }

    fn word(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}

fn xcr0(cpu: &Cpu<'_>) -> Result<u64> {
    let xcrs = cpu.vcpu.get_xcrs().map_err(kvm("KVM_GET_XCRS"))?;
    Ok(xcrs.xcrs[0].value)
}

/// EDX:EAX, limited to what the guest has enabled.
fn requested(cpu: &Cpu<'_>) -> Result<u64> {
    Ok((cpu.regs.rdx << 32 | cpu.regs.rax & 0xffff_ffff) & xcr0(cpu)?)
}

fn area(instruction: &Instruction) -> u64 {
    match instruction.operand {
        Some(Operand::Memory(address)) => address,
        _ => 0,
    }
}

pub(super) fn xgetbv(cpu: &mut Cpu<'_>, _: &Instruction) -> Result<()> {
    // XCR1 says which components are not in their initial state; all of XCR0 is a permitted value.
    let value = xcr0(cpu)?;
    (cpu.regs.rax, cpu.regs.rdx) = (value & 0xffff_ffff, value >> 32);
    Ok(())
}

/// Writes the legacy area, as far as it is asked for.
fn save_legacy(cpu: &Cpu<'_>, state: &State, to: u64, bits: u64) -> Result<()> {
    if bits & X87 != 0 {
        cpu.write(to, &state.0[..MXCSR])?;
        cpu.write(to + 32, &state.0[32..XMM])?;
    }
    if bits & SSE != 0 {
        cpu.write(to + XMM as u64, &state.0[XMM..LEGACY])?;
    }
    cpu.write(to + MXCSR as u64, &state.0[MXCSR..32])
}

/// XSAVE and XSAVEOPT, whose optimisations are permitted, not required.
pub(super) fn xsave(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Result<()> {
    let (bits, state, to) = (requested(cpu)?, State::get(cpu)?, area(instruction));
    save_legacy(cpu, &state, to, bits)?;
    for (_, component, _) in compacted(bits) {
        let bytes = &state.0[component.offset..component.offset + component.size];
        cpu.write(to + component.offset as u64, bytes)?;
    }
    let mut old = [0; 8];
    cpu.read(to + LEGACY as u64, &mut old)?;
    let in_use = u64::from_le_bytes(old) & !bits | state.word(LEGACY) & bits;
    cpu.write(to + LEGACY as u64, &in_use.to_le_bytes())
}

/// XSAVEC and XSAVES; no supervisor component is ever enabled, so the two are one.
pub(super) fn xsave_compacted(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Result<()> {
    let (bits, state, to) = (requested(cpu)?, State::get(cpu)?, area(instruction));
    save_legacy(cpu, &state, to, bits)?;
    for (_, component, at) in compacted(bits) {
        let bytes = &state.0[component.offset..component.offset + component.size];
        cpu.write(to + at as u64, bytes)?;
    }
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&(state.word(LEGACY) & bits).to_le_bytes());
    header[8..16].copy_from_slice(&(COMPACTED | bits).to_le_bytes());
    cpu.write(to + LEGACY as u64, &header)
}

/// XRSTOR and XRSTORS, of either format: components that are asked for but not in the area become initial.
pub(super) fn xrstor(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Result<()> {
    let (bits, from) = (requested(cpu)?, area(instruction));
    let mut saved = [0; LEGACY + HEADER];
    cpu.read(from, &mut saved)?;
    let header = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&saved[LEGACY + at..LEGACY + at + 8]);
        u64::from_le_bytes(word)
    };
    let (in_use, format) = (header(0), header(8));
    let mut state = State::get(cpu)?;
    if bits & X87 != 0 {
        state.0[..MXCSR].copy_from_slice(&saved[..MXCSR]);
        state.0[32..XMM].copy_from_slice(&saved[32..XMM]);
    }
    if bits & SSE != 0 {
        state.0[MXCSR..32].copy_from_slice(&saved[MXCSR..32]);
        state.0[XMM..LEGACY].copy_from_slice(&saved[XMM..LEGACY]);
    }
    let layout = if format & COMPACTED != 0 {
        format
    } else {
        bits
    };
    for (number, component, at) in compacted(layout) {
        if bits & in_use & 1 << number == 0 {
            continue;
        }
        let at = if format & COMPACTED != 0 {
            at
        } else {
            component.offset
        };
        let into = &mut state.0[component.offset..component.offset + component.size];
        cpu.read(from + at as u64, into)?;
    }
    state.set_word(LEGACY, state.word(LEGACY) & !bits | in_use & bits);
    state.set(cpu)
}
