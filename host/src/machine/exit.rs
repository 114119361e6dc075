//! What happens when a vCPU leaves the guest: the one dispatch of VM exits, for the first vCPU and for the others.

use super::output::{self, Output, Passed};
use super::ports::{Event, Ports};
use crate::base::descriptor::Descriptor;
use crate::base::lock::lock;
use crate::devices::Devices;
use crate::error::{Result, kvm};
use crate::layout;
use crate::report::Ending;
use jiffy_abi::port;
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::sync::{Arc, Mutex};

/// What serves the exits of a machine's vCPUs.
#[derive(Clone, Debug)]
pub(crate) struct Exits {
    pub(crate) output: Arc<Output>,
    pub(crate) ports: Arc<Mutex<Ports>>,
    pub(crate) devices: Arc<Devices>,
}

/// What an exit means to the thread that runs the vCPU.
#[derive(Debug)]
pub(crate) enum Step {
    /// It was served: enter the guest again.
    Served,
    /// PID 1 rang ready.
    Ready,
    /// PID 1 started the payload.
    Started,
    /// The guest cannot or will not go on.
    End(Ending),
    /// KVM cannot execute the instruction at RIP.
    InternalError,
    /// A signal made KVM_RUN return.
    Interrupted,
}

impl Exits {
    /// Serves what `KVM_RUN` returned.
    ///
    /// # Errors
    /// What KVM or passing on the guest's output gave.
    pub(crate) fn serve(
        &self,
        exit: std::result::Result<VcpuExit<'_>, kvm_ioctls::Error>,
    ) -> Result<Step> {
        match exit {
            Ok(VcpuExit::IoOut(port::STDOUT, data)) => return pass(&self.output.stdout, data),
            Ok(VcpuExit::IoOut(port::STDERR, data)) => return pass(&self.output.stderr, data),
            Ok(VcpuExit::IoOut(port, data)) => {
                return Ok(step_of(lock(&self.ports).write(port, data)));
            }
            Ok(VcpuExit::IoIn(port, data)) => lock(&self.ports).read(port, data),
            Ok(VcpuExit::MmioRead(at, data)) => self.devices.read(at, data),
            Ok(VcpuExit::MmioWrite(at, &[port::READY_BYTE]))
                if layout::BOOT_TIMERS.contains(&at) =>
            {
                return Ok(Step::Ready);
            }
            Ok(VcpuExit::MmioWrite(at, data)) => self.devices.write(at, data),
            Ok(VcpuExit::Shutdown) => return Ok(Step::End(Ending::TripleFault)),
            Ok(VcpuExit::InternalError) => return Ok(Step::InternalError),
            Ok(VcpuExit::FailEntry(reason, _)) => {
                return Ok(Step::End(Ending::KvmError(refused_entry(reason))));
            }
            Ok(other) => {
                let what = format!("unexpected exit {other:?}");
                return Ok(Step::End(Ending::KvmError(what)));
            }
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
                return Ok(Step::Interrupted);
            }
            Err(error) => return Err(kvm("KVM_RUN")(error)),
        }
        Ok(Step::Served)
    }
}

/// Passes the payload's output on. Its reader's end ends the guest, as it would end a local program.
fn pass(to: &Descriptor, data: &[u8]) -> Result<Step> {
    Ok(match output::pass_on(to, data)? {
        Passed::All => Step::Served,
        Passed::Stopped => Step::Interrupted,
        Passed::Closed => Step::End(Ending::Ended),
    })
}

/// Why the processor did not enter the guest, and what to do about it.
///
/// Source: Intel SDM volume 3, section 28.8 (bit 31 and reasons 33 and 34), AMD APM volume 2, section 15.5.1 (-1, as 64 bits
/// or 32).
#[cold]
fn refused_entry(reason: u64) -> String {
    let why = match reason {
        0x8000_0021 => "the guest's state is invalid",
        0x8000_0022 => "a model-specific register of the guest cannot be loaded",
        0xffff_ffff | u64::MAX => "the guest's state is invalid (VMEXIT_INVALID)",
        _ => "this reason is not a known one",
    };
    format!(
        "the processor refuses to enter the guest, for reason {reason:#x}: {why}; see the host's `dmesg`. Under a hypervisor, \
         its nested virtualization may be at fault: try a newer one, or `cargo xtask boot --on lab`"
    )
}

fn step_of(event: Event) -> Step {
    match event {
        Event::Continue => Step::Served,
        Event::Ready => Step::Ready,
        Event::Started => Step::Started,
        Event::End => Step::End(Ending::Ended),
        Event::Reset => Step::End(Ending::Reset),
        Event::PowerOff => Step::End(Ending::PowerOff),
    }
}

/// Why a vCPU ended with [`Step::InternalError`].
#[allow(unsafe_code)]
pub(crate) fn internal_error(vcpu: &mut VcpuFd) -> Ending {
    // SAFETY: the exit reason said that this member of the union is the one that KVM filled.
    let failure = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.emulation_failure };
    Ending::KvmError(
        if failure.suberror == kvm_bindings::KVM_INTERNAL_ERROR_EMULATION {
            "KVM cannot emulate the instruction".to_owned()
        } else {
            format!("KVM internal error {}", failure.suberror)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_entry_is_explained() {
        assert!(refused_entry(0x8000_0021).contains("0x80000021: the guest's state is invalid"));
        assert!(refused_entry(u64::MAX).contains("VMEXIT_INVALID"));
        assert!(refused_entry(7).contains("not a known one"));
    }
}
