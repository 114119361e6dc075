//! Values of the runner's options and reports: their names, and the types that the library has for them.

use jiffy::kernel::Protocol;
use jiffy::memory::Pages;
use jiffy::report::Kind;

/// What may back guest memory, and what each is called.
const PAGES: [(&str, Pages); 4] = [
    ("auto", Pages::Auto),
    ("4k", Pages::Small),
    ("thp", Pages::Transparent),
    ("2m", Pages::Huge),
];

/// The boot protocols, and what each is called.
const PROTOCOLS: [(&str, Protocol); 2] = [("linux64", Protocol::Linux64), ("pvh", Protocol::Pvh)];

/// The kinds of KVM, and what each is called.
const KINDS: [(&str, Kind); 3] = [
    ("hardware", Kind::Hardware),
    ("software", Kind::Software),
    ("lab", Kind::Lab),
];

/// `--pages`.
///
/// # Errors
/// What to type instead.
pub(crate) fn pages(text: &str) -> Result<Pages, String> {
    parse(&PAGES, text).ok_or_else(|| "use auto, 4k, thp or 2m".to_owned())
}

/// What `--pages` takes for it.
pub(crate) fn pages_name(pages: Pages) -> &'static str {
    name(&PAGES, pages)
}

/// `--entry`.
///
/// # Errors
/// What to type instead.
pub(crate) fn entry(text: &str) -> Result<Protocol, String> {
    parse(&PROTOCOLS, text).ok_or_else(|| "use linux64 or pvh".to_owned())
}

/// What `--entry` takes for it.
pub(crate) fn entry_name(entry: Protocol) -> &'static str {
    name(&PROTOCOLS, entry)
}

/// What reports call a kind of KVM.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    name(&KINDS, kind)
}

fn parse<T: Copy>(all: &[(&str, T)], text: &str) -> Option<T> {
    let mut all = all.iter();
    all.find(|(name, _)| *name == text).map(|(_, value)| *value)
}

fn name<T: PartialEq>(all: &[(&'static str, T)], value: T) -> &'static str {
    let mut all = all.iter();
    all.find(|(_, one)| *one == value)
        .map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, value) in PAGES {
            assert_eq!((pages(name), pages_name(value)), (Ok(value), name));
        }
        for (name, value) in PROTOCOLS {
            assert_eq!((entry(name), entry_name(value)), (Ok(value), name));
        }
        for (name, kind) in KINDS {
            assert_eq!(kind_name(kind), name);
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
        assert!(pages("1g").is_err() && entry("").is_err());
    }
}
