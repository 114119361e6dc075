//! The vCPU whose instruction is completed.

use super::exception::{Done, Stop};
use super::instruction::{self, Instruction, Operand};
use super::state::State;
use super::walk::{Access, Mode, Place};

use crate::memory::{GuestMemory, paging};
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use std::ops::Range;

/// CR4.PKE: PKRU limits what may be done to users' pages.
const PROTECTION_KEYS: u64 = 1 << 22;

/// The vCPU as it stopped.
pub(super) struct Cpu<'a> {
    pub(super) vcpu: &'a VcpuFd,
    pub(super) memory: &'a GuestMemory,
    pub(super) regs: kvm_regs,
    pub(super) sregs: kvm_sregs,
}

/// Memory that an instruction names: its address, and whether RSP or RBP is in it.
pub(super) type Area = (u64, bool);

impl Cpu<'_> {
    /// Whether the code at RIP is 64-bit code, the only one that is decoded.
    pub(super) fn is_64_bit(&self) -> bool {
        const LONG_MODE_ACTIVE: u64 = 1 << 10;
        self.sregs.efer & LONG_MODE_ACTIVE != 0 && self.sregs.cs.l != 0
    }

    /// CPL is 0.
    pub(super) fn is_supervisor(&self) -> bool {
        self.sregs.cs.selector & 3 == 0
    }

    /// The bytes at RIP: up to 15, fewer where the next page is not mapped. KVM has seen that they may be executed.
    pub(super) fn fetch(&self) -> Vec<u8> {
        let mut bytes = vec![0; 15];
        let read =
            |bytes: &mut [u8]| paging::read(self.memory, self.sregs.cr3, self.regs.rip, bytes);
        while !bytes.is_empty() && read(&mut bytes).is_err() {
            bytes.pop();
        }
        bytes
    }

    fn places(&self, area: Area, range: Range<usize>, access: Access) -> Done<Vec<Place>> {
        let keys = match self.sregs.cr4 & PROTECTION_KEYS != 0 {
            true => Some(State::get(self.vcpu)?.pkru()),
            false => None,
        };
        let mode = Mode::of(&self.sregs, self.regs.rflags, keys);
        let from = (area.0.wrapping_add(range.start as u64), area.1);
        mode.places(self.memory, from, range.len(), access)
    }

    /// Copies the bytes of `range` within an area.
    pub(super) fn read(&self, area: Area, at: usize, into: &mut [u8]) -> Done {
        for Place { gpa, part } in self.places(area, at..at + into.len(), Access::Read)? {
            self.memory.read(gpa, &mut into[part])?;
        }
        Ok(())
    }

    /// Raises what writing to these ranges of an area would raise, before anything is written.
    pub(super) fn may_write(&self, area: Area, ranges: &[Range<usize>]) -> Done {
        for range in ranges {
            self.places(area, range.clone(), Access::Write)?;
        }
        Ok(())
    }

    /// Writes to an area, all bytes or none.
    pub(super) fn write(&self, area: Area, at: usize, bytes: &[u8]) -> Done {
        for Place { gpa, part } in self.places(area, at..at + bytes.len(), Access::Write)? {
            self.memory.write(gpa, &bytes[part])?;
        }
        Ok(())
    }

    /// The value of an operand, zero-extended from the instruction's operand size.
    pub(super) fn value(&self, instruction: &Instruction) -> Done<u64> {
        let mut bytes = [0; 8];
        match instruction.operand {
            Some(Operand::Register(number)) => {
                bytes = instruction::register(&self.regs, number).to_le_bytes();
            }
            Some(Operand::Memory(address)) => {
                let area = (address, instruction.stack);
                self.read(area, 0, &mut bytes[..instruction.size()])?;
            }
            None => {}
        }
        bytes[instruction.size()..].fill(0);
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn set_flags(&mut self, clear: u64, set: u64) {
        self.regs.rflags = self.regs.rflags & !clear | set;
    }
}

/// The memory operand.
///
/// # Errors
/// [`Stop::Outside`] for an instruction without one, which the list of instructions rules out.
pub(super) fn area(instruction: &Instruction) -> Done<Area> {
    match instruction.operand {
        Some(Operand::Memory(address)) => Ok((address, instruction.stack)),
        _ => Err(Stop::Outside),
    }
}
