//! What a run reports: the shape of `jiffy run --json` and `cargo xtask boot --json`.

use super::ending::EndedBy;
use crate::error::ValueError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Exit status of a run whose timeout expired.
pub const TIMED_OUT: u8 = 124;
/// Exit status of a run that the runner or the guest failed.
pub const FAULT: u8 = 125;
/// Exit status of a run that SIGINT ended, as a shell shows it.
pub const INTERRUPTED: u8 = 130;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// PID 1 rang ready, and there was no payload.
    #[default]
    Ready,
    /// The payload ended, or the guest ended the machine in good order: `ended_by` says so.
    Exited,
    /// The kernel panicked.
    Panicked,
    /// The guest ended as none should: by a triple fault, by a reset for which no reason is known, without a verdict.
    Crashed,
    /// The timeout expired.
    TimedOut,
    /// The user interrupted the runner.
    Interrupted,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Outcome::Ready,
        Outcome::Exited,
        Outcome::Panicked,
        Outcome::Crashed,
        Outcome::TimedOut,
        Outcome::Interrupted,
    ];

    /// The name in a report's JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ready => "ready",
            Outcome::Exited => "exited",
            Outcome::Panicked => "panicked",
            Outcome::Crashed => "crashed",
            Outcome::TimedOut => "timed-out",
            Outcome::Interrupted => "interrupted",
        }
    }
}

impl FromStr for Outcome {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut all = Self::ALL.into_iter();
        all.find(|outcome| outcome.name() == text).ok_or_else(|| {
            ValueError::new(
                text,
                "ready, exited, panicked, crashed, timed-out or interrupted",
            )
        })
    }
}

/// For people: the name without its hyphen.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Ready => "ready",
            Outcome::Exited => "exited",
            Outcome::Panicked => "panicked",
            Outcome::Crashed => "crashed",
            Outcome::TimedOut => "timed out",
            Outcome::Interrupted => "interrupted",
        })
    }
}

/// The kind of KVM a run had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A processor with virtualization.
    #[default]
    Hardware,
    /// KVM's emulator: times are emulated.
    Software,
    /// A processor that QEMU or Bochs emulates: times are the lab's.
    Lab,
}

impl Kind {
    /// The name in a report's JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Hardware => "hardware",
            Kind::Software => "software",
            Kind::Lab => "lab",
        }
    }
}

impl FromStr for Kind {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        [Kind::Hardware, Kind::Software, Kind::Lab]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| ValueError::new(text, "hardware, software or lab"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// KVM, as the report shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmInfo {
    /// The kind.
    pub kind: Kind,
    /// `KVM_GET_API_VERSION`.
    pub api: i32,
}

/// The kernel that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInfo {
    /// As in `uname -r`; empty when the image does not tell.
    pub release: String,
    /// The profile it was built from; empty for a foreign kernel.
    pub profile: String,
    /// Of the vmlinux, in hexadecimal.
    pub sha256: String,
    /// Size of the vmlinux.
    pub bytes: u64,
}

/// Durations in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Microseconds {
    /// Opening KVM, reserving memory, creating VM and vCPU.
    pub vm: f64,
    /// Placing kernel, initramfs and boot parameters.
    pub load: f64,
    /// Setting the vCPU up.
    pub vcpu: f64,
    /// First `KVM_RUN` to the ready doorbell.
    pub kernel: f64,
    /// Ready doorbell to the payload's start, or to the end without one.
    pub init: f64,
    /// Payload's start to the guest's end.
    pub payload: f64,
    /// The guest's end to the report.
    pub teardown: f64,
    /// Process start to the first `KVM_RUN`.
    pub to_entry: f64,
    /// `to_entry + kernel`.
    pub to_ready: f64,
    /// Process start to the report.
    pub total: f64,
}

/// VM exits up to ready, by KVM's counters; none where the host's kernel does not count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exits {
    /// All of them.
    pub total: Option<u64>,
    /// Port accesses.
    pub io: Option<u64>,
    /// Accesses to devices in memory.
    pub mmio: Option<u64>,
    /// Interrupts of the host.
    pub irq: Option<u64>,
    /// Halts.
    pub halt: Option<u64>,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always 1.
    pub schema: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit status that the runner takes for its own.
    pub exit_code: u8,
    /// How the guest ended the machine, if it asked for that: by reboot(2), or by a signal to PID 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// Whether the program was killed because the guest ran out of memory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out_of_memory: bool,
    /// What is known of a bad end; empty after a good one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnosis: Vec<String>,
    /// Requests that could not be met, and that the guest could run without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// KVM.
    pub kvm: KvmInfo,
    /// The kernel.
    pub kernel: KernelInfo,
    /// Guest memory.
    pub memory_mib: u64,
    /// vCPUs.
    pub cpus: u32,
    /// What really backs guest memory: 4k, thp (wholly or in part, as the host gives them) or 2m.
    pub pages: String,
    /// Where the time went.
    pub us: Microseconds,
    /// Guest instructions from the first to ready; 0 where nothing counts them.
    pub guest_instructions: u64,
    /// What counted them.
    pub instruction_source: String,
    /// VM exits up to ready.
    pub exits: Exits,
    /// Instructions that the runner completed for software KVM.
    pub assists: BTreeMap<String, u64>,
    /// Pages of guest memory touched up to ready; none where the host's kernel does not count them.
    pub pages_touched: Option<u64>,
    /// The runner's resident memory in KiB, guest memory included.
    pub rss_kib: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Report {
    /// The report of a machine that never ran, for this reason.
    #[must_use]
    pub fn crashed(reason: String) -> Self {
        Report {
            schema: 1,
            outcome: Outcome::Crashed,
            exit_code: FAULT,
            diagnosis: vec![reason],
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        for outcome in Outcome::ALL {
            let json = serde_json::to_value(outcome).unwrap();
            assert_eq!(json, outcome.name());
            assert_eq!(outcome.name().parse(), Ok(outcome));
        }
        for kind in [Kind::Hardware, Kind::Software, Kind::Lab] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let error = "none".parse::<Kind>().unwrap_err().to_string();
        assert_eq!(
            error,
            "\"none\" is not possible: give hardware, software or lab"
        );
    }
}
