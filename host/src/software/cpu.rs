//! The vCPU whose instruction is completed.

use super::instruction::{self, Instruction, Operand};
use crate::error::Result;
use crate::memory::{GuestMemory, paging};
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;

/// The vCPU as it stopped.
pub(super) struct Cpu<'a> {
    pub(super) vcpu: &'a VcpuFd,
    pub(super) memory: &'a GuestMemory,
    pub(super) regs: kvm_regs,
    pub(super) sregs: kvm_sregs,
}

impl Cpu<'_> {
    /// The bytes at RIP: up to 15, fewer where the next page is not mapped.
    pub(super) fn fetch(&self) -> Vec<u8> {
        let mut bytes = vec![0; 15];
        while !bytes.is_empty() && self.read(self.regs.rip, &mut bytes).is_err() {
            bytes.pop();
        }
        bytes
    }

    pub(super) fn read(&self, address: u64, into: &mut [u8]) -> Result<()> {
        paging::read(self.memory, self.sregs.cr3, address, into)
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        paging::write(self.memory, self.sregs.cr3, address, bytes)
    }

    /// The value of an operand, zero-extended from the instruction's operand size.
    pub(super) fn value(&self, instruction: &Instruction) -> Result<u64> {
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

    pub(super) fn set_flags(&mut self, clear: u64, set: u64) -> Result<()> {
        self.regs.rflags = self.regs.rflags & !clear | set;
        Ok(())
    }
}
