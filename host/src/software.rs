//! Software KVM: completes the instructions that KVM's emulator cannot.
//!
//! On a processor without virtualization KVM runs guest supervisor code in its instruction emulator, which lacks
//! some. KVM then exits with an emulation failure, and this file does the instruction's work. It is entered on
//! no other occasion, so hardware KVM never pays for it.

use crate::error::{Result, kvm};
use crate::memory::GuestMemory;
use crate::paging;
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use std::collections::BTreeMap;

/// How often each instruction was completed, by mnemonic.
pub type Assists = BTreeMap<&'static str, u64>;

/// Vector of the breakpoint exception.
const BREAKPOINT: u8 = 3;

/// Tries to complete the instruction at which the vCPU stopped.
///
/// Returns false when it is not one that this file knows.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub fn complete(vcpu: &VcpuFd, memory: &GuestMemory, assists: &mut Assists) -> Result<bool> {
    let regs = vcpu.get_regs().map_err(kvm("KVM_GET_REGS"))?;
    let sregs = vcpu.get_sregs().map_err(kvm("KVM_GET_SREGS"))?;
    let bytes = fetch(memory, &sregs, regs.rip);
    let Some((name, effect)) = decode(&bytes) else {
        return Ok(false);
    };
    let cpu = Cpu {
        vcpu,
        memory,
        regs,
        sregs,
    };
    if !effect(cpu, &bytes)? {
        return Ok(false);
    }
    *assists.entry(name).or_default() += 1;
    Ok(true)
}

struct Cpu<'a> {
    vcpu: &'a VcpuFd,
    memory: &'a GuestMemory,
    regs: kvm_regs,
    sregs: kvm_sregs,
}

type Effect = fn(Cpu<'_>, &[u8]) -> Result<bool>;

fn decode(bytes: &[u8]) -> Option<(&'static str, Effect)> {
    match bytes {
        [0xcc, ..] => Some(("int3", int3)),
        [0x9b, ..] => Some(("fwait", skip::<1>)),
        [0x0f, 0x01, 0xca, ..] => Some(("clac", skip::<3>)),
        [0x0f, 0x01, 0xcb, ..] => Some(("stac", skip::<3>)),
        _ => None,
    }
}

/// The bytes at an address: up to 15, fewer where the next page is not mapped.
fn fetch(memory: &GuestMemory, sregs: &kvm_sregs, rip: u64) -> Vec<u8> {
    let mut bytes = vec![0; 15];
    while !bytes.is_empty() && paging::read(memory, sregs.cr3, rip, &mut bytes).is_err() {
        bytes.pop();
    }
    bytes
}

fn skip<const LENGTH: u64>(mut cpu: Cpu<'_>, _: &[u8]) -> Result<bool> {
    cpu.regs.rip += LENGTH;
    cpu.vcpu
        .set_regs(&cpu.regs)
        .map_err(kvm("KVM_SET_REGS"))
        .map(|()| true)
}

fn int3(cpu: Cpu<'_>, bytes: &[u8]) -> Result<bool> {
    let mut events = cpu
        .vcpu
        .get_vcpu_events()
        .map_err(kvm("KVM_GET_VCPU_EVENTS"))?;
    events.exception.injected = 1;
    events.exception.nr = BREAKPOINT;
    events.exception.has_error_code = 0;
    cpu.vcpu
        .set_vcpu_events(&events)
        .map_err(kvm("KVM_SET_VCPU_EVENTS"))?;
    skip::<1>(cpu, bytes)
}
