//! What kind of KVM this host has, and what it lacks.

use super::schema::Kind;
use crate::error::{Error, Result};
use crate::machine::tsc;
use kvm_ioctls::{Cap, Kvm};
use std::arch::x86_64::__cpuid;
use std::io;

/// Leaf 1, ECX.
const VMX: u32 = 1 << 5;
/// Leaf 0x8000_0001, ECX.
const SVM: u32 = 1 << 2;
/// Leaf 0x4000_0000, EBX, ECX, EDX: how QEMU's software CPU signs.
const TCG: [u32; 3] = [
    u32::from_le_bytes(*b"TCGT"),
    u32::from_le_bytes(*b"CGTC"),
    u32::from_le_bytes(*b"GTCG"),
];

/// The only version of KVM's API that there is (Documentation/virt/kvm/api.rst, "KVM_GET_API_VERSION").
const API: i32 = 12;

/// What a boot takes, and what to do where it is missing.
const NEEDED: [(Cap, &str); 6] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP (Linux 4.5)"),
    (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI (Linux 3.5)"),
    (Cap::Xsave, "KVM_CAP_XSAVE (Linux 2.6.36)"),
    (Cap::Xcrs, "KVM_CAP_XCRS (Linux 2.6.36)"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
];

/// `KVM_CAP_BINARY_STATS_FD`: the counters of a report.
const COUNTERS: libc::c_ulong = 203;

/// What is known of this host's KVM.
#[derive(Debug, Default)]
pub struct Probe {
    /// Its kind; none if it cannot be used.
    pub kind: Option<Kind>,
    /// The version of its API, 0 if it cannot be opened.
    pub api: i32,
    /// What emulates the processor, if anything does.
    pub emulator: Option<&'static str>,
    /// Why it cannot be used, each with what to do.
    pub missing: Vec<String>,
    /// What reports lack here.
    pub notes: Vec<&'static str>,
}

/// Looks at this host's KVM.
#[must_use]
#[cold]
pub fn probe() -> Probe {
    let mut probe = Probe {
        emulator: emulator(),
        ..Probe::default()
    };
    match open() {
        Ok(kvm) => {
            probe.api = kvm.get_api_version();
            probe.missing = missing(probe.api, |cap| kvm.check_extension(cap));
            if kvm.check_extension_raw(COUNTERS) <= 0 {
                probe.notes.push("reports have no VM exits and no pages: the kernel counts them from Linux 5.14 on");
            }
        }
        Err(error) => probe.missing.push(error.to_string()),
    }
    probe.kind = probe.missing.is_empty().then(kind);
    probe
}

#[cold]
fn missing(api: i32, has: impl Fn(Cap) -> bool) -> Vec<String> {
    if api != API {
        return vec![format!(
            "KVM's API has version {api}, and {API} is needed: use a kernel from 2.6.22 on"
        )];
    }
    let lacking = NEEDED.into_iter().filter(|(cap, _)| !has(*cap));
    lacking
        .map(|(_, name)| {
            format!("this KVM lacks {name}: use a newer kernel, or `cargo xtask boot --on lab`")
        })
        .collect()
}

/// Tells by the processor: without virtualization KVM can only emulate; a processor that is emulated is a lab's.
#[must_use]
pub fn kind() -> Kind {
    let basic = __cpuid(1);
    let extended = __cpuid(0x8000_0001);
    if basic.ecx & VMX == 0 && extended.ecx & SVM == 0 {
        return Kind::Software;
    }
    match emulator() {
        Some(_) => Kind::Lab,
        None => Kind::Hardware,
    }
}

/// What emulates this processor, if anything does.
fn emulator() -> Option<&'static str> {
    let hypervisor = __cpuid(0x4000_0000);
    if [hypervisor.ebx, hypervisor.ecx, hypervisor.edx] == TCG {
        Some("QEMU (TCG)")
    } else if tsc::counts_instructions() {
        Some("Bochs")
    } else {
        None
    }
}

/// An open /dev/kvm.
///
/// # Errors
/// [`crate::Error::NoKvm`].
pub(crate) fn open() -> Result<Kvm> {
    Kvm::new().map_err(|error| Error::NoKvm(io::Error::from(error).kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing(12, |_| true).is_empty());
        let lacks = missing(12, |cap| cap as u32 != Cap::SplitIrqchip as u32);
        assert_eq!(lacks.len(), 1);
        assert!(lacks[0].contains("KVM_CAP_SPLIT_IRQCHIP"), "{lacks:?}");
        assert!(missing(11, |_| true)[0].contains("version 11"));
    }
}
