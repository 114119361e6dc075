//! Why the vCPU left the guest, as a trace counts it.

use kvm_ioctls::VcpuExit;

/// Accesses to device memory are counted by page.
const PAGE_MASK: u64 = !0xfff;

/// Why the vCPU left the guest for the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    Out(u16),
    In(u16),
    Read(u64),
    Write(u64),
    Shutdown,
    InternalError,
    Other,
}

impl Reason {
    /// The reason that `KVM_RUN` came back with; none if it was interrupted, as the sampler does.
    pub(super) fn of(exit: &Result<VcpuExit<'_>, kvm_ioctls::Error>) -> Option<Self> {
        Some(match exit {
            Ok(VcpuExit::IoOut(port, _)) => Reason::Out(*port),
            Ok(VcpuExit::IoIn(port, _)) => Reason::In(*port),
            Ok(VcpuExit::MmioRead(gpa, _)) => Reason::Read(gpa & PAGE_MASK),
            Ok(VcpuExit::MmioWrite(gpa, _)) => Reason::Write(gpa & PAGE_MASK),
            Ok(VcpuExit::Shutdown) => Reason::Shutdown,
            Ok(VcpuExit::InternalError) => Reason::InternalError,
            Ok(_) => Reason::Other,
            Err(_) => return None,
        })
    }

    /// As the trace names it.
    pub(super) fn name(self) -> String {
        match self {
            Reason::Out(port) => format!("out {port:#x}"),
            Reason::In(port) => format!("in {port:#x}"),
            Reason::Read(page) => format!("mmio read {page:#x}"),
            Reason::Write(page) => format!("mmio write {page:#x}"),
            Reason::Shutdown => "triple fault".to_owned(),
            Reason::InternalError => "emulation failure".to_owned(),
            Reason::Other => "other".to_owned(),
        }
    }
}
