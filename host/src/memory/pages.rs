//! The kinds of pages.

/// What backs guest memory.
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
    /// 2 MiB pages of the hugetlbfs pool; transparent ones where that has too few.
    Huge,
}

impl Pages {
    /// The name that the report gives.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Pages::Auto | Pages::Small => "4k",
            Pages::Transparent => "thp",
            Pages::Huge => "2m",
        }
    }
}
