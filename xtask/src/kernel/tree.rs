//! Patched source trees in the cache, one for each source and series. The build directories of all profiles share one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::base::cache::{Cache, Entry};
use crate::base::digest;
use crate::base::files::make_dir;
use crate::base::process::follow;
use crate::base::ui::Ui;
use crate::kernel::series::Series;
use crate::kernel::source::{Origin, Source};

/// How many trees stay in the cache: the one for hardware, its copies for software KVM and for variants, and the same for
/// one older version.
const KEPT: usize = 6;

/// The files in a 6.12 tarball, for the progress bar.
const TARBALL_FILES: u64 = 92_500;

/// Build directories are directly in the tree, with this prefix. So kbuild writes relative paths, and a copy of the tree
/// with its build directory can be built incrementally.
pub(crate) const BUILD_PREFIX: &str = "build-";

/// A patched tree.
pub(crate) struct Tree {
    /// Differs whenever source or patches do.
    pub(crate) key: String,
    entry: Entry,
}

impl Tree {
    /// Where the tree is.
    pub(crate) fn path(&self) -> &Path {
        self.entry.path()
    }

    /// The build directory of a profile.
    pub(crate) fn build_dir(&self, profile: &str) -> PathBuf {
        self.path().join(format!("{BUILD_PREFIX}{profile}"))
    }
}

/// The cache key of the tree of this source and series.
pub(crate) fn key(source_id: &str, series: &Series) -> String {
    let mut parts = vec![source_id.as_bytes()];
    for patch in series.patches() {
        parts.push(&patch.text);
    }
    digest::of(&parts)
}

/// The tree of a source with the series applied.
pub(crate) fn patched(ui: &Ui, cache: &Cache, source: &Source, series: &Series) -> Result<Tree> {
    let key = key(&source.id, series);
    let entry = cache.entry("trees", &key, |aside| {
        match &source.origin {
            Origin::Tarball(tarball) => extract(ui, tarball, aside)?,
            Origin::Tree(tree) => copy(ui, tree, aside)?,
        }
        apply(ui, series, aside)
    })?;
    cache.prune("trees", KEPT)?;
    Ok(Tree { key, entry })
}

/// A copy of a tree by hard links, with further patches applied. Patches replace the files they change.
pub(crate) fn derived(
    ui: &Ui,
    cache: &Cache,
    base: &Tree,
    purpose: &str,
    more: &Series,
) -> Result<Tree> {
    let key = key(&base.key, more);
    let entry = cache.entry("trees", &key, |aside| {
        let step = ui.step(format!("link the tree for {purpose}"), 0);
        copy_tree(base.path(), aside, &|from, to| {
            fs::hard_link(from, to).map(|()| 0)
        })?;
        step.done();
        apply(ui, more, aside)
    })?;
    Ok(Tree { key, entry })
}

fn apply(ui: &Ui, series: &Series, tree: &Path) -> Result<()> {
    if series.patches().is_empty() {
        return Ok(());
    }
    let step = ui.step(format!("apply {} patches", series.patches().len()), 0);
    series.stage(tree)?.install(tree)?;
    step.done();
    Ok(())
}

fn extract(ui: &Ui, tarball: &Path, to: &Path) -> Result<()> {
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    let mut step = ui.step(format!("extract {name}"), TARBALL_FILES);
    let sh = Shell::new()?;
    let mut tar: Command = cmd!(
        sh,
        "tar --extract --verbose --no-same-owner --file {tarball} --directory {to} --strip-components=1"
    )
    .quiet()
    .into();
    let ended = follow(tar.env("XZ_DEFAULTS", "--threads=0"), |_| step.advance())?;
    if !ended.status.success() {
        // Later errors only follow from the first.
        let complaint = ended.complaints.first().map_or("", String::as_str);
        bail!("extracting {}: {complaint}", tarball.display());
    }
    if !to.join("Kbuild").is_file() {
        bail!("{} contains no kernel source tree", tarball.display());
    }
    step.done();
    Ok(())
}

fn copy(ui: &Ui, tree: &Path, to: &Path) -> Result<()> {
    if !tree.join("Kbuild").is_file() {
        return Err(crate::base::failure::usage(format!(
            "{} is not a kernel source tree",
            tree.display()
        )));
    }
    let step = ui.step(format!("copy {}", tree.display()), 0);
    copy_tree(tree, to, &|from, to| fs::copy(from, to))?;
    // A tree that was built in place refuses to build elsewhere until it is cleaned; the copy is ours to clean.
    if to.join(".config").exists() || to.join("include/config").exists() {
        let sh = Shell::new()?;
        cmd!(sh, "make -s -C {to} ARCH=x86_64 mrproper")
            .quiet()
            .run()
            .context("cleaning the copy of a built tree")?;
    }
    step.done();
    Ok(())
}

/// Copies a tree without .git and our build directories. `file` copies a regular file.
fn copy_tree(
    from: &Path,
    to: &Path,
    file: &dyn Fn(&Path, &Path) -> std::io::Result<u64>,
) -> Result<()> {
    let mut pending = vec![PathBuf::new()];
    while let Some(dir) = pending.pop() {
        let source = from.join(&dir);
        make_dir(&to.join(&dir))?;
        let entries =
            fs::read_dir(&source).with_context(|| format!("reading {}", source.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", source.display()))?;
            let name = entry.file_name();
            let top = dir.as_os_str().is_empty();
            if top && (name == ".git" || name.to_string_lossy().starts_with(BUILD_PREFIX)) {
                continue;
            }
            let inner = dir.join(&name);
            let (source, place) = (from.join(&inner), to.join(&inner));
            let kind = entry.file_type()?;
            let copied = if kind.is_dir() {
                pending.push(inner);
                Ok(())
            } else if kind.is_symlink() {
                fs::read_link(&source).and_then(|target| std::os::unix::fs::symlink(target, &place))
            } else {
                file(&source, &place).map(|_| ())
            };
            copied
                .with_context(|| format!("copying {} to {}", source.display(), place.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_and_git_are_left_behind() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for file in [".git/HEAD", "build-min/vmlinux", "a/b/c", "a/build-x/keep"] {
            let path = from.path().join(file);
            make_dir(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        std::os::unix::fs::symlink("b/c", from.path().join("a/link")).unwrap();
        copy_tree(from.path(), to.path(), &|a, b| fs::copy(a, b)).unwrap();
        let there = |name: &str| fs::symlink_metadata(to.path().join(name)).is_ok();
        let names = [".git", "build-min", "a/b/c", "a/build-x/keep", "a/link"];
        assert_eq!(names.map(there), [false, false, true, true, true]);
    }
}
