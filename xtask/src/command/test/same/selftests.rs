//! The kernel's own selftests: their results on our kernel must be those on a kernel without the series.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::difference::Difference;
use crate::base::cache::Cache;
use crate::base::ui::Ui;
use crate::command::test::check::Context;
use crate::command::test::command::Run;
use crate::command::test::guests::{Kernel, boot};
use crate::guest::userland;
use crate::kernel::series::Series;
use crate::kernel::{source, tree};

/// The script that builds them.
const SCRIPT: &str = "ci/selftests";

/// Prefix of a selftest's name in `ci/same-as-linux.allow`.
pub(super) const PREFIX: &str = "selftests/";

/// Memory of the guest: for the programs and their work.
const MEMORY: &str = "1G";

/// Time limit for compiling them, in seconds.
const SECONDS: u64 = 1200;

/// The least number of programs for the test to mean anything.
const LEAST: usize = 100;

/// Each program's results.
type Said = BTreeMap<String, BTreeSet<String>>;

/// The results that differ between our kernel and one without the series, as far as two runs on the latter agree.
pub(super) fn differences(context: &Context<'_>) -> Result<Vec<Difference>> {
    let scratch = tempfile::tempdir().context("making a directory for the selftests")?;
    build(context, scratch.path())?;
    let guest = userland::guest(context.layout)?;
    fs::copy(&guest, scratch.path().join("tests/guest")).context("copying the guests' program")?;
    let root = scratch.path().to_string_lossy();
    let run = |kernel| -> Result<Said> {
        let options = ["--memory", MEMORY, "--rootfs", &root];
        let program = "/tests/guest".into();
        let ran = boot(context, kernel, &options, program, &["each", "/tests"])?.run(context)?;
        Ok(parse(&ran.ended_with(0)?.stdout))
    };
    let (ours, theirs) = (run(Kernel::Ours)?, run(Kernel::Unpatched)?);
    let again = run(Kernel::Unpatched)?;
    ensure!(theirs.len() >= LEAST, "only {} selftests ran", theirs.len());
    Ok(compare(&ours, &theirs, &again))
}

/// Builds them into a directory's `tests`.
fn build(context: &Context<'_>, out: &Path) -> Result<()> {
    let (ui, cache) = (Ui::new(true), Cache::open()?);
    let source = source::find(&ui, &cache, context.source)?;
    let tree = tree::patched(&ui, &cache, &source, &Series::default())?;
    let (tree, out) = (tree.path().to_string_lossy(), out.to_string_lossy());
    Run::program(&[SCRIPT, &tree, &out])
        .timeout(SECONDS)
        .run(context)?
        .ended_with(0)?;
    Ok(())
}

fn parse(said: &str) -> Said {
    let mut programs = Said::new();
    for (name, what) in said.lines().filter_map(|line| line.split_once('\t')) {
        let lines = programs.entry(name.to_owned()).or_default();
        lines.insert(what.trim_end().to_owned());
    }
    programs
}

fn compare(ours: &Said, theirs: &Said, again: &Said) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, was) in theirs {
        let none = BTreeSet::new();
        let (is, second) = (
            ours.get(name).unwrap_or(&none),
            again.get(name).unwrap_or(&none),
        );
        // A result that an unpatched kernel gives in only one of two runs is chance.
        let chance: BTreeSet<&String> = was.symmetric_difference(second).collect();
        let differs = is.symmetric_difference(was);
        let lines: Vec<&str> = differs
            .filter(|line| !chance.contains(line))
            .map(String::as_str)
            .collect();
        if !lines.is_empty() && chance.is_empty() {
            found.push(Difference {
                path: format!("{PREFIX}{name}"),
                what: lines.join("; "),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chance_without_the_series_is_no_difference() {
        let theirs = parse("a\tok 1 x\na\tended with 0\nb\tnot ok 1 y\nb\tended with 1\n");
        let again = parse("a\tok 1 x\na\tended with 0\nb\tok 1 y\nb\tended with 0\n");
        let ours = parse("a\tnot ok 1 x\na\tended with 1\nb\tok 1 y\nb\tended with 0\n");
        let found = compare(&ours, &theirs, &again);
        let [one] = &found[..] else {
            panic!("{} differences", found.len())
        };
        assert_eq!(one.path, "selftests/a");
        assert_eq!(one.what, "ended with 0; ended with 1; not ok 1 x; ok 1 x");
        assert!(compare(&theirs, &theirs, &theirs).is_empty());
    }
}
