//! Instructions on general-purpose registers, and the breakpoint.

use super::cpu::Cpu;
use super::instruction::{Instruction, Operand};
use crate::error::{Result, kvm};

/// Vector of the breakpoint exception.
const BREAKPOINT: u8 = 3;

/// Bits of RFLAGS: carry, parity, auxiliary carry, zero, sign, overflow.
const CF: u64 = 1;
const ZF: u64 = 1 << 6;
const ARITHMETIC: u64 = CF | 1 << 2 | 1 << 4 | ZF | 1 << 7 | 1 << 11;

pub(super) fn nothing(_: &mut Cpu<'_>, _: &Instruction) -> Result<()> {
    Ok(())
}

pub(super) fn int3(cpu: &mut Cpu<'_>, _: &Instruction) -> Result<()> {
    let mut events = cpu
        .vcpu
        .get_vcpu_events()
        .map_err(kvm("KVM_GET_VCPU_EVENTS"))?;
    events.exception.injected = 1;
    events.exception.nr = BREAKPOINT;
    events.exception.has_error_code = 0;
    cpu.vcpu
        .set_vcpu_events(&events)
        .map_err(kvm("KVM_SET_VCPU_EVENTS"))
}

pub(super) fn popcnt(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Result<()> {
    let value = cpu.value(instruction)?;
    instruction.set_target(&mut cpu.regs, u64::from(value.count_ones()));
    cpu.set_flags(ARITHMETIC, if value == 0 { ZF } else { 0 })
}

/// Compares RDX:RAX with 16 bytes of memory; equal, stores RCX:RBX there, else loads them. With one vCPU nothing
/// can come between the two halves.
pub(super) fn cmpxchg16b(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Result<()> {
    let Some(Operand::Memory(address)) = instruction.operand else {
        return Ok(());
    };
    let mut bytes = [0; 16];
    cpu.read(address, &mut bytes)?;
    let found = u128::from_le_bytes(bytes);
    let regs = &mut cpu.regs;
    let pair = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
    if found == pair(regs.rdx, regs.rax) {
        let new = pair(regs.rcx, regs.rbx);
        cpu.write(address, &new.to_le_bytes())?;
        cpu.set_flags(0, ZF)
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "each register takes a half"
        )]
        let halves = ((found >> 64) as u64, found as u64);
        (regs.rdx, regs.rax) = halves;
        cpu.set_flags(ZF, 0)
    }
}
