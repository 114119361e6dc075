//! Which instructions can be completed, and by what.

use super::cpu::Cpu;
use super::exception::{Done, Stop};
use super::instruction::{Instruction, Operand};
use super::{integer, xsave};
use crate::error::{Result, kvm};
use crate::memory::GuestMemory;
use kvm_ioctls::VcpuFd;
use std::collections::BTreeMap;

/// How often each instruction was completed, by mnemonic, and how often one raised an exception, by the exception's.
pub(crate) type Assists = BTreeMap<&'static str, u64>;

/// Tries to complete the instruction at which the vCPU stopped, or to raise the exception that it raises.
///
/// Returns false when it is not one that is known here, or its memory is no RAM.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub(crate) fn complete(vcpu: &VcpuFd, memory: &GuestMemory, assists: &mut Assists) -> Result<bool> {
    let regs = vcpu.get_regs().map_err(kvm("KVM_GET_REGS"))?;
    let sregs = vcpu.get_sregs().map_err(kvm("KVM_GET_SREGS"))?;
    let mut cpu = Cpu {
        vcpu,
        memory,
        regs,
        sregs,
    };
    if !cpu.is_64_bit() {
        return Ok(false);
    }
    let Some(instruction) = Instruction::decode(&cpu.fetch(), &cpu.regs, &cpu.sregs) else {
        return Ok(false);
    };
    let Some((mut name, effect)) = effect_of(&instruction) else {
        return Ok(false);
    };
    match effect(&mut cpu, &instruction) {
        Ok(()) => {
            cpu.regs.rip = cpu.regs.rip.wrapping_add(instruction.length);
            vcpu.set_regs(&cpu.regs).map_err(kvm("KVM_SET_REGS"))?;
        }
        Err(Stop::Raised(exception)) => {
            exception.inject(vcpu, &mut cpu.sregs)?;
            name = exception.mnemonic();
        }
        Err(Stop::Outside) => return Ok(false),
        Err(Stop::Failed(error)) => return Err(error),
    }
    *assists.entry(name).or_default() += 1;
    Ok(true)
}

type Effect = fn(&mut Cpu<'_>, &Instruction) -> Done;

fn effect_of(instruction: &Instruction) -> Option<(&'static str, Effect)> {
    let memory = matches!(instruction.operand, Some(Operand::Memory(_)));
    Some(match (instruction.opcode, instruction.extension()) {
        (0xcc, _) => ("int3", integer::int3 as Effect),
        (0x9b, _) => ("fwait", integer::fwait as Effect),
        (0x0f01, _) => match instruction.modrm? {
            0xca => ("clac", integer::clac as Effect),
            0xcb => ("stac", integer::stac as Effect),
            0xd0 => ("xgetbv", xsave::xgetbv as Effect),
            _ => return None,
        },
        (0x0fb8, _) if instruction.repeat => ("popcnt", integer::popcnt as Effect),
        (0x0fc7, 1) if memory && instruction.wide => ("cmpxchg16b", integer::cmpxchg16b as Effect),
        (0x0fc7, 3) if memory => ("xrstors", xsave::xrstors as Effect),
        (0x0fc7, 4) if memory => ("xsavec", xsave::xsavec as Effect),
        (0x0fc7, 5) if memory => ("xsaves", xsave::xsaves as Effect),
        (0x0fae, 4) if memory => ("xsave", xsave::xsave as Effect),
        (0x0fae, 5) if memory => ("xrstor", xsave::xrstor as Effect),
        (0x0fae, 6) if memory => ("xsaveopt", xsave::xsave as Effect),
        _ => return None,
    })
}
