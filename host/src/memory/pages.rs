//! The kinds of pages that can back guest memory.

use crate::error::ValueError;
use std::fmt;
use std::str::FromStr;

/// What backs guest memory: `auto`, `4k`, `thp` or `2m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// What measured best: 4 KiB pages, and transparent huge ones where the kernel lies and where it puts its
    /// memory map.
    #[default]
    Auto,
    /// 4 KiB pages.
    Small,
    /// Transparent huge pages, by madvise.
    Transparent,
    /// 2 MiB pages of the hugetlbfs pool; transparent ones where the pool has too few.
    Huge,
}

impl Pages {
    /// The name as an option's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Pages::Auto => "auto",
            Pages::Small => "4k",
            Pages::Transparent => "thp",
            Pages::Huge => "2m",
        }
    }
}

impl FromStr for Pages {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        [Pages::Auto, Pages::Small, Pages::Transparent, Pages::Huge]
            .into_iter()
            .find(|pages| pages.name() == text)
            .ok_or_else(|| ValueError::new(text, "auto, 4k, thp or 2m"))
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
