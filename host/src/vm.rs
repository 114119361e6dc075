//! The virtual machine: KVM's objects and the state that the boot protocol asks for.

use crate::boot_params;
use crate::cpuid;
use crate::devices::{Devices, Spec};
use crate::error::{Error, Result, kvm};
use crate::kernel::Entry;
use crate::layout;
use crate::memory::GuestMemory;
use crate::pvh;
use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, kvm_enable_cap, kvm_pit_config, kvm_regs, kvm_segment, kvm_sregs,
    kvm_userspace_memory_region, kvm_xcrs,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::io;
use std::sync::Arc;

/// Which interrupt hardware the guest gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Irqchip {
    /// The local APIC alone: all that our kernels use.
    #[default]
    Local,
    /// A PC's PIC, I/O APIC and PIT as well, for kernels that calibrate by the PIT.
    Pc,
}

/// An open /dev/kvm.
///
/// # Errors
/// [`Error::NoKvm`].
pub fn open_kvm() -> Result<Kvm> {
    Kvm::new().map_err(|error| Error::NoKvm(io::Error::from(error).kind()))
}

/// A machine with its memory attached. Field order is drop order: the vCPU goes before its memory.
#[derive(Debug)]
pub struct Vm {
    /// The first vCPU.
    pub vcpu: VcpuFd,
    /// The others, until they run.
    pub others: Vec<VcpuFd>,
    /// The guest's devices.
    pub devices: Arc<Devices>,
    /// The guest's RAM.
    pub memory: GuestMemory,
    fd: Arc<VmFd>,
    irqchip: Irqchip,
}

impl Vm {
    /// Creates the machine. Memory goes in before the interrupt chips: the other way round KVM waits for a
    /// grace period of RCU (4-8 ms on software KVM).
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn new(kvm_fd: &Kvm, memory: GuestMemory, irqchip: Irqchip, cpus: u8) -> Result<Self> {
        let vm = kvm_fd.create_vm().map_err(kvm("KVM_CREATE_VM"))?;
        attach_memory(&vm, &memory)?;
        match irqchip {
            Irqchip::Local => {
                let mut cap = kvm_enable_cap {
                    cap: KVM_CAP_SPLIT_IRQCHIP,
                    ..Default::default()
                };
                // Pins of an I/O APIC that user space would emulate; KVM wants a number, a PC has 24.
                cap.args[0] = 24;
                vm.enable_cap(&cap)
                    .map_err(kvm("KVM_ENABLE_CAP(KVM_CAP_SPLIT_IRQCHIP)"))?;
            }
            Irqchip::Pc => {
                vm.set_tss_address(layout::KVM_TSS)
                    .map_err(kvm("KVM_SET_TSS_ADDR"))?;
                vm.create_irq_chip().map_err(kvm("KVM_CREATE_IRQCHIP"))?;
                vm.create_pit2(kvm_pit_config::default())
                    .map_err(kvm("KVM_CREATE_PIT2"))?;
            }
        }
        let vcpu = vm.create_vcpu(0).map_err(kvm("KVM_CREATE_VCPU"))?;
        let others = (1..cpus)
            .map(|id| vm.create_vcpu(id.into()).map_err(kvm("KVM_CREATE_VCPU")))
            .collect::<Result<_>>()?;
        Ok(Vm {
            vcpu,
            others,
            devices: Arc::default(),
            memory,
            fd: Arc::new(vm),
            irqchip,
        })
    }

    /// Makes the guest's devices.
    ///
    /// # Errors
    /// What a device could not open.
    pub fn add_devices(&mut self, specs: &[Spec]) -> Result<()> {
        self.devices = Arc::new(Devices::new(specs, &self.fd, &self.memory, self.irqchip)?);
        Ok(())
    }

    /// Sets the vCPU to the kernel's entry point.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_entry(&self, kvm_fd: &Kvm, entry: Entry) -> Result<()> {
        let mut cpuid = cpuid::for_guest(kvm_fd)?;
        let states = cpuid::xsave_states(&cpuid);
        let cpus = 1 + self.others.len() as u32;
        for (vcpu, id) in [&self.vcpu].into_iter().chain(&self.others).zip(0..) {
            if cpus > 1 {
                cpuid::set_topology(&mut cpuid, id, cpus)?;
            }
            vcpu.set_cpuid2(&cpuid).map_err(kvm("KVM_SET_CPUID2"))?;
            enable_states(vcpu, states);
        }
        let mut sregs = self.vcpu.get_sregs().map_err(kvm("KVM_GET_SREGS"))?;
        // Bit 1 of the flags always reads as 1.
        let mut regs = kvm_regs {
            rflags: 2,
            ..Default::default()
        };
        match entry {
            Entry::Linux64(entry) => {
                self.set_long_mode(&mut sregs)?;
                (regs.rip, regs.rsi) = (entry, layout::BOOT_PARAMS);
                regs.rsp = layout::BOOT_PARAMS;
            }
            Entry::Pvh(entry) => {
                pvh::set_mode(&mut sregs);
                (regs.rip, regs.rbx) = (entry.into(), layout::START_INFO);
            }
        }
        self.vcpu.set_sregs(&sregs).map_err(kvm("KVM_SET_SREGS"))?;
        self.vcpu.set_regs(&regs).map_err(kvm("KVM_SET_REGS"))
    }

    fn set_long_mode(&self, sregs: &mut kvm_sregs) -> Result<()> {
        const CR0_PE_PG: u64 = 1 | 1 << 31;
        const CR4_PAE: u64 = 1 << 5;
        const EFER_LME_LMA: u64 = 1 << 8 | 1 << 10;
        sregs.cr3 = boot_params::write_page_tables(&self.memory)?;
        sregs.cr4 |= CR4_PAE;
        sregs.cr0 |= CR0_PE_PG;
        sregs.efer |= EFER_LME_LMA;
        // Flat segments; the selectors are the boot protocol's __BOOT_CS and __BOOT_DS.
        let data = flat_data();
        sregs.cs = kvm_segment {
            selector: 0x10,
            type_: 11,
            db: 0,
            l: 1,
            ..data
        };
        for segment in [
            &mut sregs.ds,
            &mut sregs.es,
            &mut sregs.fs,
            &mut sregs.gs,
            &mut sregs.ss,
        ] {
            *segment = data;
        }
        Ok(())
    }

    /// The frequency of the guest's time stamp counter in kHz, where KVM tells it.
    #[must_use]
    pub fn tsc_khz(&self) -> Option<u32> {
        self.vcpu.get_tsc_khz().ok().filter(|&khz| khz > 0)
    }
}

/// Sets XCR0 to what the guest will set it to. CPUID tells the size of the enabled states, by which the kernel
/// checks its own sum; QEMU's SVM does not let KVM see the guest's XSETBV, and so the kernel would warn, in 60
/// lines, in each boot in the lab. A KVM that refuses leaves the states to the guest, as any KVM could.
fn enable_states(vcpu: &VcpuFd, states: u64) {
    let mut xcrs = kvm_xcrs {
        nr_xcrs: 1,
        ..Default::default()
    };
    xcrs.xcrs[0].value = states;
    if states != 0 {
        let _ = vcpu.set_xcrs(&xcrs);
    }
}

#[allow(unsafe_code)]
fn attach_memory(vm: &VmFd, memory: &GuestMemory) -> Result<()> {
    for (slot, region) in memory.regions().enumerate() {
        let region = kvm_userspace_memory_region {
            slot: slot as u32,
            flags: 0,
            guest_phys_addr: region.gpa,
            memory_size: region.len,
            userspace_addr: region.hva,
        };
        // SAFETY: the region is a mapping that `memory` owns, and `Vm` keeps `memory` until the VM is closed.
        unsafe { vm.set_user_memory_region(region) }.map_err(kvm("KVM_SET_USER_MEMORY_REGION"))?;
    }
    Ok(())
}

/// A data segment of all 4 GiB, which both entries begin with.
pub(crate) fn flat_data() -> kvm_segment {
    kvm_segment {
        limit: u32::MAX,
        selector: 0x18,
        type_: 3,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    }
}
