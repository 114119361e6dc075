//! The file of `jiffy run --trace`: one JSON object a line, one line a run.

use crate::report::Report;
use crate::report::stats::Stats;
use serde::{Deserialize, Serialize};

/// The version of this layout; another one is not to be read.
pub const SCHEMA: u32 = 1;

/// How a call chain was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The instruction pointer alone.
    #[default]
    Ip,
    /// Frame pointers.
    FramePointers,
    /// The kernel's ORC tables.
    Orc,
    /// Return addresses found on the stack, each checked against the code that calls: a good guess.
    Scan,
}

/// Where the vCPU was at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Microseconds since the first `KVM_RUN`.
    pub us: f64,
    /// Microseconds for which the sample stopped the guest: from the timer's signal to the next `KVM_RUN`.
    pub cost: f64,
    /// The instruction pointer.
    pub ip: u64,
    /// User code.
    pub user: bool,
    /// Index of the callers in [`Trace::callers`].
    pub callers: usize,
    /// How they were found.
    pub how: How,
    /// Guest instructions so far; 0 where nothing counts them.
    pub instructions: u64,
    /// VM exits so far, by KVM's count.
    pub exits: u64,
}

/// A record of the kernel's own trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// Microseconds since the first `KVM_RUN`.
    pub us: f64,
    /// What it marks.
    pub kind: StampKind,
    /// A step's name; empty for calls and returns.
    pub name: String,
    /// The function's address, for calls and returns.
    pub address: u64,
    /// What the function returned.
    pub value: i32,
}

/// The kinds of `boot_trace_record`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StampKind {
    /// A step begins.
    Mark,
    /// A function is called.
    Call,
    /// It returned.
    Return,
}

/// An exit to the runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Microseconds since the first `KVM_RUN`.
    pub us: u64,
    /// Index of the reason in [`Trace::reasons`].
    pub reason: usize,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run's report.
    pub report: Report,
    /// Samples asked for in a second.
    pub hz: u32,
    /// The ready doorbell, in microseconds since the first `KVM_RUN`.
    pub ready: Option<f64>,
    /// The payload's start.
    pub started: Option<f64>,
    /// The guest's end.
    pub ended: f64,
    /// Samples, in the order of time.
    pub samples: Vec<Sample>,
    /// Samples beyond what is kept.
    pub dropped: u64,
    /// Return addresses, innermost first; several samples share a list.
    pub callers: Vec<Vec<u64>>,
    /// What the kernel recorded of itself; empty for a kernel without `BOOT_TRACE`.
    pub stamps: Vec<Stamp>,
    /// Records that did not fit into the kernel's buffer.
    pub stamps_lost: u32,
    /// Exits to the runner, in the order of time.
    pub exits: Vec<Exit>,
    /// Their reasons.
    pub reasons: Vec<String>,
    /// How often each reason came, in the order of `reasons`, those of exits beyond what is kept included.
    pub counts: Vec<u64>,
    /// KVM's counters at the end.
    pub stats: Stats,
    /// The kernel's log.
    pub log: Vec<String>,
}
