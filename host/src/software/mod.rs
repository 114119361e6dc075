//! Software KVM: completes the instructions that KVM's emulator cannot.
//!
//! On a processor without virtualization KVM runs guest supervisor code in its instruction emulator, which lacks
//! some. KVM then exits with an emulation failure, and this folder does the instruction's work. It is entered on
//! no other occasion, so hardware KVM never pays for it.
//!
//! Source of what instructions do: AMD64 Architecture Programmer's Manual, volumes 3 and 4.

mod instruction;
mod xsave;

use crate::error::{Error, Result, kvm};
use crate::memory::GuestMemory;
use crate::paging;
use instruction::{Instruction, Operand};
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use std::collections::BTreeMap;

/// How often each instruction was completed, by mnemonic.
pub type Assists = BTreeMap<&'static str, u64>;

/// Vector of the breakpoint exception.
const BREAKPOINT: u8 = 3;

/// Bits of RFLAGS: carry, parity, auxiliary carry, zero, sign, overflow.
const CF: u64 = 1;
const ZF: u64 = 1 << 6;
const ARITHMETIC: u64 = CF | 1 << 2 | 1 << 4 | ZF | 1 << 7 | 1 << 11;

/// Tries to complete the instruction at which the vCPU stopped.
///
/// Returns false when it is not one that is known here, or its memory is not mapped.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub fn complete(vcpu: &VcpuFd, memory: &GuestMemory, assists: &mut Assists) -> Result<bool> {
    let regs = vcpu.get_regs().map_err(kvm("KVM_GET_REGS"))?;
    let sregs = vcpu.get_sregs().map_err(kvm("KVM_GET_SREGS"))?;
    let mut cpu = Cpu {
        vcpu,
        memory,
        regs,
        sregs,
    };
    let Some(instruction) = Instruction::decode(&cpu.fetch(), &cpu.regs, &cpu.sregs) else {
        return Ok(false);
    };
    let Some((name, effect)) = effect_of(&instruction) else {
        return Ok(false);
    };
    match effect(&mut cpu, &instruction) {
        Ok(()) => {}
        Err(Error::OutOfBounds { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    cpu.regs.rip = cpu.regs.rip.wrapping_add(instruction.length);
    vcpu.set_regs(&cpu.regs).map_err(kvm("KVM_SET_REGS"))?;
    *assists.entry(name).or_default() += 1;
    Ok(true)
}

type Effect = fn(&mut Cpu<'_>, &Instruction) -> Result<()>;

fn effect_of(instruction: &Instruction) -> Option<(&'static str, Effect)> {
    let memory = matches!(instruction.operand, Some(Operand::Memory(_)));
    Some(match (instruction.opcode, instruction.extension()) {
        (0xcc, _) => ("int3", int3 as Effect),
        (0x9b, _) => ("fwait", nothing as Effect),
        (0x0f01, _) => match instruction.modrm? {
            0xca => ("clac", |cpu, _| cpu.set_flags(1 << 18, 0)),
            0xcb => ("stac", |cpu, _| cpu.set_flags(1 << 18, 1 << 18)),
            0xd0 => ("xgetbv", xsave::xgetbv as Effect),
            _ => return None,
        },
        (0x0fb8, _) if instruction.repeat => ("popcnt", popcnt as Effect),
        (0x0fc7, 1) if memory && instruction.wide => ("cmpxchg16b", cmpxchg16b as Effect),
        (0x0fc7, 3) if memory => ("xrstors", xsave::xrstor as Effect),
        (0x0fc7, 4) if memory => ("xsavec", xsave::xsave_compacted as Effect),
        (0x0fc7, 5) if memory => ("xsaves", xsave::xsave_compacted as Effect),
        (0x0fae, 4) if memory => ("xsave", xsave::xsave as Effect),
        (0x0fae, 5) if memory => ("xrstor", xsave::xrstor as Effect),
        (0x0fae, 6) if memory => ("xsaveopt", xsave::xsave as Effect),
        _ => return None,
    })
}

/// The vCPU as it stopped.
struct Cpu<'a> {
    vcpu: &'a VcpuFd,
    memory: &'a GuestMemory,
    regs: kvm_regs,
    sregs: kvm_sregs,
}

impl Cpu<'_> {
    /// The bytes at RIP: up to 15, fewer where the next page is not mapped.
    fn fetch(&self) -> Vec<u8> {
        let mut bytes = vec![0; 15];
        while !bytes.is_empty() && self.read(self.regs.rip, &mut bytes).is_err() {
            bytes.pop();
        }
        bytes
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<()> {
        paging::read(self.memory, self.sregs.cr3, address, into)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        paging::write(self.memory, self.sregs.cr3, address, bytes)
    }

    /// The value of an operand, zero-extended from the instruction's operand size.
    fn value(&self, instruction: &Instruction) -> Result<u64> {
        let mut bytes = [0; 8];
        match instruction.operand {
            Some(Operand::Register(number)) => {
                bytes = instruction::register(&self.regs, number).to_le_bytes();
            }
            Some(Operand::Memory(address)) => {
                self.read(address, &mut bytes[..instruction.size()])?;
            }
            None => {}
        }
        bytes[instruction.size()..].fill(0);
        Ok(u64::from_le_bytes(bytes))
    }

    fn set_flags(&mut self, clear: u64, set: u64) -> Result<()> {
        self.regs.rflags = self.regs.rflags & !clear | set;
        Ok(())
    }
}

fn nothing(_: &mut Cpu<'_>, _: &Instruction) -> Result<()> {
    Ok(())
}

fn int3(cpu: &mut Cpu<'_>, _: &Instruction) -> Result<()> {
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

fn popcnt(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Result<()> {
    let value = cpu.value(instruction)?;
    instruction.set_target(&mut cpu.regs, u64::from(value.count_ones()));
    cpu.set_flags(ARITHMETIC, if value == 0 { ZF } else { 0 })
}

/// Compares RDX:RAX with 16 bytes of memory; equal, stores RCX:RBX there, else loads them. With one vCPU nothing
/// can come between the two halves.
fn cmpxchg16b(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Result<()> {
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
        (regs.rdx, regs.rax) = ((found >> 64) as u64, found as u64);
        cpu.set_flags(ZF, 0)
    }
}
