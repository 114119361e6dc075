//! Why a guest runs no longer.

use jiffy_abi::power::Power;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a guest runs no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It wrote to the exit port, or nobody reads its output any more.
    Ended,
    /// It reset the machine.
    Reset,
    /// It halted with interrupts off, for good.
    Halted,
    /// It switched the machine off.
    PowerOff,
    /// A triple fault.
    TripleFault,
    /// KVM could not go on, for this reason.
    KvmError(String),
    /// It was stopped from outside.
    Stopped(Stop),
}

/// Why a guest was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The timeout expired.
    TimedOut,
    /// One of the signals by which a user ends a run.
    Interrupted,
}

/// How a guest ended its machine itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// `halt`.
    Halt,
    /// `poweroff`.
    PowerOff,
    /// `reboot`.
    Restart,
}

impl From<Power> for EndedBy {
    fn from(power: Power) -> Self {
        match power {
            Power::Halt => EndedBy::Halt,
            Power::PowerOff => EndedBy::PowerOff,
            Power::Restart => EndedBy::Restart,
        }
    }
}

impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndedBy::Halt => "halt",
            EndedBy::PowerOff => "power-off",
            EndedBy::Restart => "restart",
        })
    }
}
