//! The clock of a trace's times.

use jiffy::report::Kind;
use serde::{Deserialize, Serialize};

/// What measured a trace's times, which decides what they can be compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Clock {
    /// The processor's time stamp counter.
    #[default]
    Tsc,
    /// The lab's, which counts instructions.
    Lab,
    /// KVM emulates the kernel, so its times are no boot times.
    Emulated,
}

impl Clock {
    /// The name in a trace's JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tsc => "tsc",
            Self::Lab => "lab",
            Self::Emulated => "emulated",
        }
    }

    /// The name of its milliseconds.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Tsc => "ms",
            Self::Lab => "lab ms",
            Self::Emulated => "emul. ms",
        }
    }
}

impl From<Kind> for Clock {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Hardware => Self::Tsc,
            Kind::Lab => Self::Lab,
            Kind::Software => Self::Emulated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        for kind in [Kind::Hardware, Kind::Lab, Kind::Software] {
            let clock = Clock::from(kind);
            assert_eq!(serde_json::to_value(clock).unwrap(), clock.name());
        }
    }
}
