//! Reads a patch series and applies it to a tree, all of it or nothing.
//!
//! The files that the series touches are copied to a scratch directory and patched there, one patch after the other.
//! The results replace the tree's files only if every hunk of every patch matched. Each file is renamed into place, so one
//! that another tree shares by a hard link keeps its old content there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, anyhow};
use xshell::{Shell, cmd};

use super::diff::{explain, parse};
use crate::base::files::make_dir;

/// One `git format-patch` file.
#[derive(Clone)]
pub(crate) struct Patch {
    /// The file's name.
    pub(crate) name: String,
    /// The commit's subject, without `[PATCH]`.
    pub(crate) subject: String,
    /// The file's bytes.
    pub(crate) text: Vec<u8>,
    pub(super) files: BTreeSet<PathBuf>,
}

/// Patches in the order of their names.
#[derive(Default)]
pub(crate) struct Series(pub(super) Vec<Patch>);

/// A series that matches a tree, with the patched files in a scratch directory.
pub(crate) struct Staged {
    pub(super) scratch: tempfile::TempDir,
    pub(super) files: BTreeSet<PathBuf>,
}

impl Series {
    /// Reads `DIR/*.patch`; a directory without patches, or none at all, is an empty series.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let reading = || format!("reading the patches of {}", dir.display());
        let mut paths = Vec::new();
        match fs::read_dir(dir) {
            Ok(entries) => {
                for entry in entries {
                    paths.push(entry.with_context(reading)?.path());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(reading),
        }
        paths.retain(|path| path.extension().is_some_and(|kind| kind == "patch"));
        paths.sort();
        paths
            .iter()
            .map(|path| Patch::read(path))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The patches in order.
    pub(crate) fn patches(&self) -> &[Patch] {
        &self.0
    }

    /// Every file that a patch of the series names.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.0
            .iter()
            .flat_map(|patch| patch.files.iter().cloned())
            .collect()
    }

    /// Tries the whole series on copies of the files it touches.
    ///
    /// # Errors
    /// Names the first patch that does not match, the file and the hunks.
    pub(crate) fn stage(&self, tree: &Path) -> Result<Staged> {
        if !tree.join("Kbuild").is_file() || !tree.join("Makefile").is_file() {
            return Err(crate::base::failure::usage(format!(
                "{} is not a kernel source tree (no Kbuild and Makefile there)",
                tree.display()
            )));
        }
        let files = self.files();
        let scratch = copies(tree, &files)?;
        for patch in &self.0 {
            patch.apply_in(scratch.path(), tree)?;
        }
        Ok(Staged { scratch, files })
    }
}

impl Patch {
    /// The files it names.
    pub(crate) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (subject, files) = parse(&String::from_utf8_lossy(&text))
            .with_context(|| format!("{} is not a patch that can be applied", path.display()))?;
        Ok(Self {
            name,
            subject,
            text,
            files,
        })
    }

    /// Runs patch on it in a directory.
    pub(super) fn run_in(&self, scratch: &Path, how: &[&str]) -> Result<Output> {
        let sh = Shell::new()?;
        sh.change_dir(scratch);
        sh.set_var("LC_ALL", "C");
        cmd!(
            sh,
            "patch -p1 {how...} --no-backup-if-mismatch --reject-file=-"
        )
        .stdin(&self.text)
        .quiet()
        .ignore_status()
        .output()
        .context("running patch; is it installed?")
    }

    fn apply_in(&self, scratch: &Path, tree: &Path) -> Result<()> {
        // No fuzz: what git am would refuse is refused here too.
        let output = self.run_in(scratch, &["--forward", "--fuzz=0"])?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stdout);
        Err(anyhow!(
            "{} does not apply to {}: {}; the tree is unchanged",
            self.name,
            tree.display(),
            explain(&said).unwrap_or_else(|| {
                let errors = String::from_utf8_lossy(&output.stderr);
                format!("{} {}", said.trim(), errors.trim())
            })
        ))
    }
}

impl Staged {
    /// Moves the patched files into the tree. All of them are written beside their places before the first rename. A file
    /// that needs no change is left alone and keeps its modification time.
    pub(crate) fn install(&self, tree: &Path) -> Result<()> {
        let mut written = Vec::new();
        let all = self
            .files
            .iter()
            .try_for_each(|file| self.write_beside(tree, file, &mut written));
        if let Err(error) = all {
            for (aside, _) in &written {
                // Report the first error; a temporary file that stays behind can be recognised by its name.
                let _ = fs::remove_file(aside);
            }
            return Err(error);
        }
        for (aside, place) in &written {
            fs::rename(aside, place).with_context(|| format!("replacing {}", place.display()))?;
        }
        for file in &self.files {
            let place = tree.join(file);
            if !self.scratch.path().join(file).exists() && place.exists() {
                fs::remove_file(&place).with_context(|| format!("removing {}", place.display()))?;
            }
        }
        Ok(())
    }

    fn write_beside(
        &self,
        tree: &Path,
        file: &Path,
        written: &mut Vec<(PathBuf, PathBuf)>,
    ) -> Result<()> {
        let from = self.scratch.path().join(file);
        let place = tree.join(file);
        if !from.exists() || same(&from, &place)? {
            return Ok(());
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let aside = place.with_file_name(format!(".{name}.jiffy-new"));
        make_dir(place.parent().unwrap_or(tree))?;
        written.push((aside.clone(), place));
        fs::copy(&from, &aside).with_context(|| format!("writing {}", aside.display()))?;
        Ok(())
    }
}

/// Copies those of the files that the tree has.
pub(super) fn copies(tree: &Path, files: &BTreeSet<PathBuf>) -> Result<tempfile::TempDir> {
    let scratch = tempfile::tempdir().context("creating a scratch directory")?;
    for file in files {
        let to = scratch.path().join(file);
        make_dir(to.parent().unwrap_or(scratch.path()))?;
        let from = tree.join(file);
        if from.exists() {
            fs::copy(&from, &to)
                .with_context(|| format!("copying {} to try patches on", from.display()))?;
        }
    }
    Ok(scratch)
}

/// Whether two files have the same content, a missing file being equal to none but a missing one.
pub(super) fn same(one: &Path, other: &Path) -> Result<bool> {
    let read = |path: &Path| match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    };
    Ok(read(one)? == read(other)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const PATCH: &str = "From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH 1/2] init: a long\n subject\n\n\
        Why.\n---\n init/main.c | 2 +-\n\ndiff --git a/init/main.c b/init/main.c\n--- a/init/main.c\n\
        +++ b/init/main.c\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n\
        diff --git a/new.c b/new.c\nnew file mode 100644\n--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+new\n--\n2.39\n";
    const SECOND: &str = "Subject: second\n\ndiff --git a/init/main.c b/init/main.c\n--- a/init/main.c\n\
        +++ b/init/main.c\n@@ -1,3 +1,3 @@\n one\n-zwei\n+due\n three\n\
        diff --git a/old.c b/old.c\ndeleted file mode 100644\n--- a/old.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n";

    fn tree(main: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("init")).unwrap();
        for (name, text) in [("init/main.c", main), ("old.c", "old\n")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        for name in ["Kbuild", "Makefile"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        dir
    }

    fn series() -> Series {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("0001-a.patch"), PATCH).unwrap();
        fs::write(dir.path().join("0002-b.patch"), SECOND).unwrap();
        fs::write(dir.path().join("README"), "").unwrap();
        Series::read(dir.path()).unwrap()
    }

    #[test]
    fn a_matching_series_is_applied_whole_and_breaks_links() {
        let tree = tree("one\ntwo\nthree\n");
        fs::hard_link(tree.path().join("init/main.c"), tree.path().join("shared")).unwrap();
        let series = series();
        assert_eq!(series.patches()[0].subject, "init: a long subject");
        series
            .stage(tree.path())
            .unwrap()
            .install(tree.path())
            .unwrap();
        let read = |name: &str| fs::read_to_string(tree.path().join(name)).ok();
        assert_eq!(read("init/main.c").as_deref(), Some("one\ndue\nthree\n"));
        assert_eq!(read("new.c").as_deref(), Some("new\n"));
        assert_eq!(read("old.c"), None);
        assert_eq!(read("shared").as_deref(), Some("one\ntwo\nthree\n"));
    }

    fn refusal(main: &str) -> String {
        let tree = tree(main);
        let before = crate::base::digest::tree(tree.path()).unwrap();
        let error = series().stage(tree.path()).err().unwrap().to_string();
        assert_eq!(crate::base::digest::tree(tree.path()).unwrap(), before);
        error.replace(&tree.path().display().to_string(), "TREE")
    }

    #[test]
    fn a_mismatch_names_patch_file_and_hunk() {
        expect!["0001-a.patch does not apply to TREE: init/main.c: hunk 1 (line 1) does not match; the tree is unchanged"]
            .assert_eq(&refusal("one\nother\nthree\n"));
    }

    #[test]
    fn a_change_that_is_there_already_is_told_apart() {
        expect!["0001-a.patch does not apply to TREE: init/main.c: the change is already there; the tree is unchanged"]
            .assert_eq(&refusal("one\nzwei\nthree\n"));
    }
}
