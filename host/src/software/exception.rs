//! Exceptions that an instruction raises instead of completing, and how the guest gets them.

use crate::error::{Error, Result, kvm};
use kvm_bindings::kvm_sregs;
use kvm_ioctls::VcpuFd;

/// An exception of the processor (Intel SDM volume 3, section 7.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exception {
    /// #UD.
    InvalidOpcode,
    /// #NM: the x87 state belongs to somebody else (CR0.TS).
    DeviceNotAvailable,
    /// #SS(0): an address by RSP or RBP that is not canonical.
    Stack,
    /// #GP(0).
    GeneralProtection,
    /// #PF.
    PageFault {
        /// CR2.
        address: u64,
        /// As in section 5.7 of the same volume.
        code: u32,
    },
}

/// Why an instruction did not complete.
#[derive(Debug)]
pub(super) enum Stop {
    /// It raises an exception, and has changed nothing.
    Raised(Exception),
    /// It, or a page table, is in guest-physical memory that is no RAM.
    Outside,
    /// The runner failed.
    Failed(Error),
}

/// What completing an instruction gives.
pub(super) type Done<T = ()> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::OutOfBounds { .. } => Stop::Outside,
            error => Stop::Failed(error),
        }
    }
}

impl From<Exception> for Stop {
    fn from(exception: Exception) -> Self {
        Stop::Raised(exception)
    }
}

impl Exception {
    pub(super) fn mnemonic(self) -> &'static str {
        match self {
            Exception::InvalidOpcode => "#UD",
            Exception::DeviceNotAvailable => "#NM",
            Exception::Stack => "#SS",
            Exception::GeneralProtection => "#GP",
            Exception::PageFault { .. } => "#PF",
        }
    }

    /// Has the guest enter the exception's handler next.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub(super) fn inject(self, vcpu: &VcpuFd, sregs: &mut kvm_sregs) -> Result<()> {
        match self {
            Exception::InvalidOpcode => inject(vcpu, 6, None),
            Exception::DeviceNotAvailable => inject(vcpu, 7, None),
            Exception::Stack => inject(vcpu, 12, Some(0)),
            Exception::GeneralProtection => inject(vcpu, 13, Some(0)),
            Exception::PageFault { address, code } => {
                sregs.cr2 = address;
                let set = vcpu.set_sregs(sregs);
                set.map_err(kvm("KVM_SET_SREGS"))?;
                inject(vcpu, 14, Some(code))
            }
        }
    }
}

/// Injects the exception with this vector, with the error code of those that have one.
pub(super) fn inject(vcpu: &VcpuFd, vector: u8, code: Option<u32>) -> Result<()> {
    let events = vcpu.get_vcpu_events();
    let mut events = events.map_err(kvm("KVM_GET_VCPU_EVENTS"))?;
    events.exception.injected = 1;
    events.exception.nr = vector;
    events.exception.has_error_code = code.is_some().into();
    events.exception.error_code = code.unwrap_or(0);
    let set = vcpu.set_vcpu_events(&events);
    set.map_err(kvm("KVM_SET_VCPU_EVENTS"))
}
