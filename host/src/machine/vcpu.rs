//! The state in which vCPUs begin: CPUID, XCR0, and the registers that the boot protocol asks for.

use super::cpuid::{self, CpuFeatures, topology};
use super::vm::Vm;
use super::{msrs, segments};
use crate::base::cast::to_u32;
use crate::error::{Result, kvm};
use crate::layout;
use crate::load::entry::Entry;
use crate::memory::paging;
use kvm_bindings::{kvm_regs, kvm_xcrs};
use kvm_ioctls::{Kvm, VcpuFd};

/// Sets up all vCPUs of a machine, the first at the kernel's entry point; Linux starts the others itself.
///
/// # Errors
/// [`crate::Error::Kvm`].
pub(crate) fn set_up(vm: &Vm, kvm_fd: &Kvm, entry: Entry, features: CpuFeatures) -> Result<()> {
    let mut cpuid = cpuid::for_guest(kvm_fd, features)?;
    let states = cpuid::xsave_states(&cpuid);
    let cpus = 1 + to_u32(vm.others.len());
    for (vcpu, id) in [&vm.vcpu].into_iter().chain(&vm.others).zip(0..) {
        topology::set(&mut cpuid, id, cpus)?;
        vcpu.set_cpuid2(&cpuid).map_err(kvm("KVM_SET_CPUID2"))?;
        enable_states(vcpu, states)?;
        msrs::set(vcpu, features)?;
    }
    let mut sregs = vm.vcpu.get_sregs().map_err(kvm("KVM_GET_SREGS"))?;
    // Bit 1 of the flags always reads as 1.
    let mut regs = kvm_regs {
        rflags: 2,
        ..Default::default()
    };
    match entry {
        Entry::Linux64(entry) => {
            segments::set_long_mode(&mut sregs, paging::write_identity_map(&vm.memory)?);
            (regs.rip, regs.rsi) = (entry, layout::BOOT_PARAMS);
            regs.rsp = layout::BOOT_PARAMS;
        }
        Entry::Pvh(entry) => {
            segments::set_protected_mode(&mut sregs);
            (regs.rip, regs.rbx) = (entry.into(), layout::START_INFO);
        }
    }
    vm.vcpu.set_sregs(&sregs).map_err(kvm("KVM_SET_SREGS"))?;
    vm.vcpu.set_regs(&regs).map_err(kvm("KVM_SET_REGS"))
}

/// Sets XCR0 to what the guest will set it to. The kernel compares CPUID's size of the enabled states with its own sum,
/// and QEMU's SVM does not let KVM see the guest's XSETBV: without this, each boot in the lab would warn in 60 lines.
///
/// # Errors
/// [`crate::Error::Kvm`]: a KVM that refuses these states would refuse them to the guest, which panics then.
fn enable_states(vcpu: &VcpuFd, states: u64) -> Result<()> {
    if states == 0 {
        return Ok(());
    }
    let mut xcrs = kvm_xcrs {
        nr_xcrs: 1,
        ..Default::default()
    };
    xcrs.xcrs[0].value = states;
    vcpu.set_xcrs(&xcrs).map_err(kvm("KVM_SET_XCRS"))
}
