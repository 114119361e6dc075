//! How and where a kernel is entered.

use crate::error::ValueError;
use std::fmt;
use std::str::FromStr;

/// The boot protocol to enter a kernel by: `linux64` or `pvh`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Linux's 64-bit boot protocol; PVH for a kernel whose ELF entry point is in none of its segments.
    #[default]
    Linux64,
    /// PVH, which the kernel's notes must offer.
    Pvh,
}

impl Protocol {
    /// The name as an option's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Linux64 => "linux64",
            Protocol::Pvh => "pvh",
        }
    }
}

impl FromStr for Protocol {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        [Protocol::Linux64, Protocol::Pvh]
            .into_iter()
            .find(|protocol| protocol.name() == text)
            .ok_or_else(|| ValueError::new(text, "linux64 or pvh"))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a kernel is entered, a guest-physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In long mode, with `boot_params`.
    Linux64(u64),
    /// In 32-bit protected mode, with PVH's start info.
    Pvh(u32),
}
