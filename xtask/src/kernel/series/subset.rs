//! Takes some patches of a series out of a tree that has all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::patches::{Patch, Series, Staged, copies, same};

/// Up to two lines of context may differ, patch(1)'s default: a neighbouring change is no dependency.
const CONTEXT: &str = "--fuzz=2";

/// Patches that are taken out together with another one, by their numbers.
pub(crate) type Companions = BTreeMap<String, Vec<String>>;

/// The files that a series touches, as they were before it.
pub(crate) struct Unpatched<'a> {
    series: &'a Series,
    scratch: tempfile::TempDir,
}

/// What is left of a series, and its files.
pub(crate) struct Subset {
    /// The patches that are left.
    pub(crate) series: Series,
    /// Numbers of the patches that were taken out: those asked for and those that depend on them.
    pub(crate) without: BTreeSet<String>,
    staged: Staged,
}

impl Patch {
    /// Its number in the series, with which its file name begins.
    pub(crate) fn number(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }
}

impl<'a> Unpatched<'a> {
    /// Reverts the whole series in copies of the tree's files.
    pub(crate) fn of(series: &'a Series, tree: &Path) -> Result<Self> {
        let scratch = copies(tree, &series.files())?;
        for patch in series.patches().iter().rev() {
            let output = patch.run_in(scratch.path(), &["--reverse", "--force", "--fuzz=0"])?;
            if !output.status.success() {
                bail!(
                    "{} cannot be reverted in {}: {}",
                    patch.name,
                    tree.display(),
                    String::from_utf8_lossy(&output.stdout).trim()
                );
            }
        }
        Ok(Self { series, scratch })
    }

    /// The series without these patches, their companions, and later patches that no longer apply.
    pub(crate) fn without(
        &self,
        numbers: &BTreeSet<String>,
        companions: &Companions,
    ) -> Result<Subset> {
        let mut without = numbers.clone();
        complete(&mut without, companions);
        loop {
            let subset = self.try_without(without)?;
            without = subset.without.clone();
            complete(&mut without, companions);
            // Each round takes out at least one more patch, so there are at most as many rounds as patches.
            if without == subset.without {
                return Ok(subset);
            }
        }
    }

    fn try_without(&self, mut without: BTreeSet<String>) -> Result<Subset> {
        let files = self.series.files();
        let scratch = copies(self.scratch.path(), &files)?;
        let mut left = Vec::new();
        for patch in self.series.patches() {
            if without.contains(patch.number()) {
                continue;
            }
            let apply = |more: &[&str]| {
                let how = [&["--forward", CONTEXT], more].concat();
                patch.run_in(scratch.path(), &how)
            };
            if !apply(&["--dry-run"])?.status.success() {
                without.insert(patch.number().to_owned());
                continue;
            }
            ensure!(
                apply(&[])?.status.success(),
                "{} applied when it was tried but no longer does",
                patch.name
            );
            left.push(patch.clone());
        }
        Ok(Subset {
            series: Series(left),
            without,
            staged: Staged { scratch, files },
        })
    }
}

fn complete(without: &mut BTreeSet<String>, companions: &Companions) {
    let mut pending: Vec<String> = without.iter().cloned().collect();
    while let Some(number) = pending.pop() {
        for other in companions.get(&number).into_iter().flatten() {
            if without.insert(other.clone()) {
                pending.push(other.clone());
            }
        }
    }
}

impl Subset {
    /// Puts its files into a copy of `base`, the tree with the whole series. Files that do not differ are hard links, so
    /// that make finds them older than base's objects; the others are new.
    pub(crate) fn install(&self, base: &Path, copy: &Path) -> Result<()> {
        for file in &self.staged.files {
            let (from, to) = (base.join(file), copy.join(file));
            let staged = self.staged.scratch.path().join(file);
            let replacing = || format!("replacing {}", to.display());
            if to.exists() {
                fs::remove_file(&to).with_context(replacing)?;
            }
            if from.exists() && same(&staged, &from)? {
                fs::hard_link(&from, &to).with_context(replacing)?;
            }
        }
        self.staged.install(copy)?;
        for file in &self.staged.files {
            let made = same(&self.staged.scratch.path().join(file), &copy.join(file))?;
            ensure!(
                made,
                "{} differs from the file that was staged",
                copy.join(file).display()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(name: &str, file: &str, hunk: &str) -> (String, String) {
        let text = format!(
            "Subject: {name}\n\ndiff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n{hunk}"
        );
        (format!("{name}-x.patch"), text)
    }

    /// 0002 builds upon 0001; 0003 is for itself; 0004 adds a file.
    fn series() -> Series {
        let new = "diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+new\n";
        let patches = [
            patch("0001", "f", "@@ -1,2 +1,2 @@\n-one\n+1\n two\n"),
            patch("0002", "f", "@@ -1,2 +1,2 @@\n-1\n+I\n two\n"),
            patch("0003", "g", "@@ -1,2 +1,2 @@\n-one\n+1\n two\n"),
            ("0004-x.patch".to_owned(), format!("Subject: 4\n\n{new}")),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in patches {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Series::read(dir.path()).unwrap()
    }

    /// Trees with the series: one, and a copy of links.
    fn trees(series: &Series) -> (tempfile::TempDir, tempfile::TempDir) {
        let (base, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, text) in [
            ("f", "one\ntwo\n"),
            ("g", "one\ntwo\n"),
            ("Kbuild", ""),
            ("Makefile", ""),
        ] {
            fs::write(base.path().join(name), text).unwrap();
        }
        series
            .stage(base.path())
            .unwrap()
            .install(base.path())
            .unwrap();
        for name in ["f", "g", "n"] {
            fs::hard_link(base.path().join(name), copy.path().join(name)).unwrap();
        }
        (base, copy)
    }

    fn set(numbers: &[&str]) -> BTreeSet<String> {
        numbers.iter().map(|number| (*number).to_owned()).collect()
    }

    #[test]
    fn what_builds_upon_a_patch_goes_with_it() {
        let series = series();
        let (base, _copy) = trees(&series);
        let unpatched = Unpatched::of(&series, base.path()).unwrap();
        let none = Companions::new();
        let without = |number| unpatched.without(&set(&[number]), &none).unwrap().without;
        assert_eq!(without("0001"), set(&["0001", "0002"]));
        assert_eq!(without("0002"), set(&["0002"]));
        assert_eq!(without("0004"), set(&["0004"]));
        // A companion's own dependents go too.
        let companions = Companions::from([("0003".to_owned(), vec!["0001".to_owned()])]);
        let all = unpatched.without(&set(&["0003"]), &companions).unwrap();
        assert_eq!(all.without, set(&["0001", "0002", "0003"]));
        // As the dependent's companions do.
        let companions = Companions::from([("0002".to_owned(), vec!["0004".to_owned()])]);
        let all = unpatched.without(&set(&["0001"]), &companions).unwrap();
        assert_eq!(all.without, set(&["0001", "0002", "0004"]));
        assert_eq!(all.series.patches().len(), 1);
    }

    #[test]
    fn a_copy_has_the_subset_and_links_to_the_rest_whatever_it_had() {
        let series = series();
        let (base, copy) = trees(&series);
        let unpatched = Unpatched::of(&series, base.path()).unwrap();
        let read = |name: &str| fs::read_to_string(copy.path().join(name)).ok();
        for (numbers, f, g, n) in [
            (&["0001", "0004"][..], "one\ntwo\n", "1\ntwo\n", None),
            (&["0003"][..], "I\ntwo\n", "one\ntwo\n", Some("new\n")),
        ] {
            let subset = unpatched
                .without(&set(numbers), &Companions::new())
                .unwrap();
            subset.install(base.path(), copy.path()).unwrap();
            assert_eq!(read("f").as_deref(), Some(f));
            assert_eq!(read("g").as_deref(), Some(g));
            assert_eq!(read("n").as_deref(), n);
        }
        let time = |dir: &Path| fs::metadata(dir.join("f")).unwrap().modified().unwrap();
        assert_eq!(time(base.path()), time(copy.path()));
        assert_eq!(
            fs::read_to_string(base.path().join("g")).unwrap(),
            "1\ntwo\n"
        );
    }
}
