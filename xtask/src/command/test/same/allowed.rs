//! The committed list of allowed differences, with reasons.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use super::difference::Difference;
use crate::base::layout::Layout;

/// Path from the repository's root. Each line is a path or the name of a measurement, which may end in `*`, then blanks and the
/// reason.
const FILE: &str = "ci/same-as-linux.allow";

/// How many differences are shown. The others are only counted.
const SHOWN: usize = 40;

/// The list.
pub(crate) struct Allowed(Vec<Entry>);

struct Entry {
    pattern: String,
    line: usize,
}

impl Entry {
    fn covers(&self, path: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == self.pattern,
        }
    }
}

impl Allowed {
    /// Reads the entries whose paths belong to a row.
    pub(crate) fn read(layout: &Layout, of: fn(&str) -> bool) -> Result<Self> {
        let path = layout.root().join(FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let Self(mut entries) = Self::parse(&text)?;
        entries.retain(|entry| of(&entry.pattern));
        Ok(Self(entries))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (pattern, reason) = line.split_once(' ').unwrap_or((line, ""));
            let line = number + 1;
            ensure!(
                !reason.trim().is_empty(),
                "{FILE}:{line}: {pattern} has no reason"
            );
            entries.push(Entry {
                pattern: pattern.to_owned(),
                line,
            });
        }
        Ok(Self(entries))
    }

    /// Checks that each difference has an entry, and that each entry is still needed.
    pub(crate) fn check(&self, differences: &[Difference]) -> Result<()> {
        let unexplained: Vec<_> = differences
            .iter()
            .filter(|one| !self.0.iter().any(|entry| entry.covers(&one.path)))
            .map(ToString::to_string)
            .collect();
        let stale: Vec<_> = self
            .0
            .iter()
            .filter(|entry| !differences.iter().any(|one| entry.covers(&one.path)))
            .map(|entry| format!("{FILE}:{}: {} does not differ", entry.line, entry.pattern))
            .collect();
        if unexplained.is_empty() && stale.is_empty() {
            return Ok(());
        }
        let count = unexplained.len();
        let shown: Vec<_> = unexplained.into_iter().take(SHOWN).chain(stale).collect();
        bail!(
            "{count} differences between the kernels are not explained in {FILE}:\n{}",
            shown.join("\n")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: &str) -> Difference {
        Difference {
            path: path.to_owned(),
            what: "1 instead of 2".to_owned(),
        }
    }

    #[test]
    fn each_difference_has_a_reason_and_each_reason_a_difference() {
        let list = Allowed::parse("# a list\n/sys/a because\n/sys/b/* for  some reason\n").unwrap();
        let seen = |paths: &[&str]| {
            let differences: Vec<_> = paths.iter().map(|path| difference(path)).collect();
            list.check(&differences)
        };
        seen(&["/sys/a", "/sys/b/c", "/sys/b/d"]).unwrap();
        let error = seen(&["/sys/a", "/sys/b/c", "/sys/ab"]).unwrap_err();
        assert!(error.to_string().ends_with("\n/sys/ab: 1 instead of 2"));
        let error = seen(&["/sys/a"]).unwrap_err();
        assert!(error.to_string().ends_with(":3: /sys/b/* does not differ"));
        assert!(Allowed::parse("/sys/a\n").is_err());
    }
}
