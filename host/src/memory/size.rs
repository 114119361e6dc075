//! How much memory a guest has.

use crate::error::ValueError;
use std::fmt;
use std::str::FromStr;

/// A size of guest memory in whole MiB, written as a number of MiB or with a suffix K, M or G: `128`, `131072K`, `2G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    mib: u64,
}

impl MemorySize {
    /// This many MiB. Whether a guest can have so much is found out when its memory is reserved.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        MemorySize { mib }
    }

    /// The size in MiB.
    #[must_use]
    pub const fn mib(self) -> u64 {
        self.mib
    }
}

impl Default for MemorySize {
    /// 128 MiB.
    fn default() -> Self {
        Self::from_mib(128)
    }
}

impl FromStr for MemorySize {
    type Err = ValueError;

    /// Rounds down to whole MiB, of which there have to be 1 to a million.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (number, unit) = match text.as_bytes().last() {
            Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
            Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
            Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
            _ => (text, 1_u64 << 20),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(|bytes| bytes >> 20)
            .filter(|mib| (1..1 << 20).contains(mib))
            .map(Self::from_mib)
            .ok_or_else(|| ValueError::new(text, "a size such as 128M or 1G"))
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.mib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, mib) in [
            ("128M", 128),
            ("128", 128),
            ("2G", 2048),
            ("8192k", 8),
            ("131072K", 128),
        ] {
            assert_eq!(text.parse(), Ok(MemorySize::from_mib(mib)), "{text}");
        }
        for text in ["", "M", "much", "-1", "99999999999G"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
        assert_eq!(MemorySize::default().to_string(), "128M");
    }
}
