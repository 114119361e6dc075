//! XSAVE and its relatives: the vCPU's extended state to and from guest memory.
//!
//! Source: Intel SDM volume 1, chapter 13 (sections 13.4 to 13.12), and volume 2 for what each instruction raises.

mod format;
#[cfg(test)]
mod tests;

use super::cpu::{Area, Cpu, area};
use super::exception::{Done, Exception};
use super::instruction::Instruction;
use super::state::{HEADER_END, LEGACY, State};
use crate::error::{Result, kvm};
use format::{Format, Restore, SUPERVISOR_ALONE, Save};

/// CR0.TS: the state belongs to another task. CR4.OSXSAVE: the kernel knows of these instructions.
const TASK_SWITCHED: u64 = 1 << 3;
const OSXSAVE: u64 = 1 << 18;

fn xcr0(cpu: &Cpu<'_>) -> Result<u64> {
    let xcrs = cpu.vcpu.get_xcrs().map_err(kvm("KVM_GET_XCRS"))?;
    Ok(xcrs.xcrs[0].value)
}

/// What all these instructions raise before they look at their memory, and that memory.
fn begin(cpu: &Cpu<'_>, instruction: &Instruction, supervisor: bool) -> Done<Area> {
    if cpu.sregs.cr4 & OSXSAVE == 0 {
        return Err(Exception::InvalidOpcode.into());
    }
    if cpu.sregs.cr0 & TASK_SWITCHED != 0 {
        return Err(Exception::DeviceNotAvailable.into());
    }
    let area = area(instruction)?;
    if (supervisor && !cpu.is_supervisor()) || area.0 % 64 != 0 {
        return Err(Exception::GeneralProtection.into());
    }
    Ok(area)
}

/// EDX:EAX, limited to what the guest has enabled. IA32_XSS is 0: KVM without virtualization has no supervisor's state.
fn requested(cpu: &Cpu<'_>) -> Result<u64> {
    Ok((cpu.regs.rdx << 32 | cpu.regs.rax & 0xffff_ffff) & xcr0(cpu)?)
}

pub(super) fn xgetbv(cpu: &mut Cpu<'_>, _: &Instruction) -> Done {
    if cpu.sregs.cr4 & OSXSAVE == 0 {
        return Err(Exception::InvalidOpcode.into());
    }
    let value = match cpu.regs.rcx & 0xffff_ffff {
        0 => xcr0(cpu)?,
        1 => xcr0(cpu)? & State::get(cpu.vcpu)?.in_use(),
        _ => return Err(Exception::GeneralProtection.into()),
    };
    (cpu.regs.rax, cpu.regs.rdx) = (value & 0xffff_ffff, value >> 32);
    Ok(())
}

/// XSAVE and XSAVEOPT, whose optimisations are permitted, not required.
pub(super) fn xsave(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Done {
    save(cpu, instruction, Format::Standard, false)
}

pub(super) fn xsavec(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Done {
    save(cpu, instruction, Format::Compacted, false)
}

/// Without a supervisor's state, XSAVES is XSAVEC for supervisors.
pub(super) fn xsaves(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Done {
    save(cpu, instruction, Format::Compacted, SUPERVISOR_ALONE)
}

fn save(cpu: &Cpu<'_>, instruction: &Instruction, format: Format, supervisor: bool) -> Done {
    let area = begin(cpu, instruction, supervisor)?;
    let mut save = Save::new(
        &State::get(cpu.vcpu)?,
        requested(cpu)?,
        format,
        instruction.wide,
    );
    cpu.may_write(area, &save.ranges())?;
    let mut old = [0; 8];
    cpu.read(area, LEGACY, &mut old)?;
    save.keep(u64::from_le_bytes(old));
    for (at, bytes) in save.pieces() {
        cpu.write(area, *at, bytes)?;
    }
    Ok(())
}

/// XRSTOR, of either format.
pub(super) fn xrstor(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Done {
    restore(cpu, instruction, false)
}

/// XRSTORS, of the compacted format alone.
pub(super) fn xrstors(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Done {
    restore(cpu, instruction, SUPERVISOR_ALONE)
}

fn restore(cpu: &Cpu<'_>, instruction: &Instruction, supervisor: bool) -> Done {
    let area = begin(cpu, instruction, supervisor)?;
    let (xcr0, bits) = (xcr0(cpu)?, requested(cpu)?);
    let mut saved = [0; HEADER_END];
    cpu.read(area, 0, &mut saved)?;
    let mut state = State::get(cpu.vcpu)?;
    let restore = Restore::check(&saved, xcr0, state.mxcsr_mask(), bits)
        .filter(|restore| !supervisor || restore.is_compacted())
        .ok_or(Exception::GeneralProtection)?;
    restore.legacy(&saved, instruction.wide, &mut state);
    for (at, into) in restore.components(&mut state) {
        cpu.read(area, at, into)?;
    }
    restore.finish(&mut state);
    Ok(state.set(cpu.vcpu)?)
}
