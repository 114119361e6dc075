//! The virtual machine: KVM's objects, with the guest's memory and devices attached.

use super::cpuid::Vendor;
use super::tsc;
use crate::devices::irqchip::Irqchip;
use crate::devices::{Devices, Spec};
use crate::error::{Result, kvm};
use crate::layout;
use crate::memory::GuestMemory;
use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, kvm_enable_cap, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::sync::Arc;

/// A machine with its memory attached. Field order is drop order: the vCPU goes before its memory.
#[derive(Debug)]
pub(crate) struct Vm {
    /// The first vCPU.
    pub(crate) vcpu: VcpuFd,
    /// The others, until they run.
    pub(crate) others: Vec<VcpuFd>,
    /// The guest's devices.
    pub(crate) devices: Arc<Devices>,
    /// The guest's RAM.
    pub(crate) memory: GuestMemory,
    fd: Arc<VmFd>,
    irqchip: Irqchip,
}

impl Vm {
    /// Creates the machine. Memory goes in before the interrupt chips: the other way round KVM waits for a
    /// grace period of RCU (4-8 ms on software KVM).
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub(crate) fn new(
        kvm_fd: &Kvm,
        memory: GuestMemory,
        irqchip: Irqchip,
        cpus: u8,
    ) -> Result<Self> {
        let vm = kvm_fd.create_vm().map_err(kvm("KVM_CREATE_VM"))?;
        attach_memory(&vm, &memory)?;
        if irqchip == Irqchip::Pc || (cpus > 1 && Vendor::of_host() == Vendor::Intel) {
            // Processors other than the first start in real mode, which not every Intel processor has in a guest. Of the
            // two areas that KVM needs for it instead, the identity map's lies below this one by default.
            vm.set_tss_address(layout::KVM_TSS)
                .map_err(kvm("KVM_SET_TSS_ADDR"))?;
        }
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
    pub(crate) fn add_devices(&mut self, specs: &[Spec]) -> Result<()> {
        self.devices = Arc::new(Devices::new(specs, &self.fd, &self.memory, self.irqchip)?);
        Ok(())
    }

    /// The frequency of the guest's time stamp counter in kHz, where KVM tells it and the counter never changes it.
    #[must_use]
    pub(crate) fn tsc_khz(&self) -> Option<u32> {
        tsc::is_invariant()
            .then(|| self.vcpu.get_tsc_khz().ok())
            .flatten()
            .filter(|&khz| khz > 0)
    }
}

#[allow(unsafe_code)]
fn attach_memory(vm: &VmFd, memory: &GuestMemory) -> Result<()> {
    for (slot, region) in (0..).zip(memory.regions()) {
        let region = kvm_userspace_memory_region {
            slot,
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
