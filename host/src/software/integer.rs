//! Instructions on general-purpose registers, and the breakpoint.

use super::cpu::{Cpu, area};
use super::exception::{self, Done, Exception};
use super::instruction::Instruction;

/// Vector of the breakpoint exception.
const BREAKPOINT: u8 = 3;

/// Bits of RFLAGS: carry, parity, auxiliary carry, zero, sign, overflow.
const CF: u64 = 1;
const ZF: u64 = 1 << 6;
const ARITHMETIC: u64 = CF | 1 << 2 | 1 << 4 | ZF | 1 << 7 | 1 << 11;

/// Bits of CR0: the x87 state may belong to another task, and WAIT is to tell of it (MP and TS).
const MONITOR_AND_TASK_SWITCHED: u64 = 1 << 1 | 1 << 3;

/// RFLAGS.AC, which lets a supervisor access users' pages.
const AC: u64 = 1 << 18;

pub(super) fn fwait(cpu: &mut Cpu<'_>, _: &Instruction) -> Done {
    if cpu.sregs.cr0 & MONITOR_AND_TASK_SWITCHED == MONITOR_AND_TASK_SWITCHED {
        return Err(Exception::DeviceNotAvailable.into());
    }
    Ok(())
}

pub(super) fn int3(cpu: &mut Cpu<'_>, _: &Instruction) -> Done {
    Ok(exception::inject(cpu.vcpu, BREAKPOINT, None)?)
}

pub(super) fn clac(cpu: &mut Cpu<'_>, _: &Instruction) -> Done {
    set_access(cpu, 0)
}

pub(super) fn stac(cpu: &mut Cpu<'_>, _: &Instruction) -> Done {
    set_access(cpu, AC)
}

fn set_access(cpu: &mut Cpu<'_>, flag: u64) -> Done {
    if !cpu.is_supervisor() {
        return Err(Exception::InvalidOpcode.into());
    }
    cpu.set_flags(AC, flag);
    Ok(())
}

pub(super) fn popcnt(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Done {
    let value = cpu.value(instruction)?;
    instruction.set_target(&mut cpu.regs, u64::from(value.count_ones()));
    cpu.set_flags(ARITHMETIC, if value == 0 { ZF } else { 0 });
    Ok(())
}

/// Compares RDX:RAX with 16 bytes of memory; equal, stores RCX:RBX there, else loads them. With one vCPU nothing
/// can come between the two halves. A processor writes in any case, so the page must be writable in any case.
pub(super) fn cmpxchg16b(cpu: &mut Cpu<'_>, instruction: &Instruction) -> Done {
    let area = area(instruction)?;
    if area.0 % 16 != 0 {
        return Err(Exception::GeneralProtection.into());
    }
    let mut bytes = [0; 16];
    #[expect(
        clippy::single_range_in_vec_init,
        reason = "one range is what it writes"
    )]
    cpu.may_write(area, &[0..bytes.len()])?;
    cpu.read(area, 0, &mut bytes)?;
    let found = u128::from_le_bytes(bytes);
    let regs = &mut cpu.regs;
    let pair = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
    if found == pair(regs.rdx, regs.rax) {
        let new = pair(regs.rcx, regs.rbx);
        cpu.write(area, 0, &new.to_le_bytes())?;
        cpu.set_flags(0, ZF);
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "each register takes a half"
        )]
        let halves = ((found >> 64) as u64, found as u64);
        (regs.rdx, regs.rax) = halves;
        cpu.set_flags(ZF, 0);
    }
    Ok(())
}
