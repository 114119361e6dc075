//! Applies the series to a pristine tree, with git am and with `cargo xtask patch`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::check::{Check, Context};
use super::command::Run;
use crate::base::cache::Cache;
use crate::base::digest;
use crate::base::ui::Ui;
use crate::kernel::series::Series;
use crate::kernel::source::{self, Origin};
use crate::kernel::tree;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("patch/git-am", git_am),
        Check::new("patch/apply", apply),
        Check::new("patch/mismatch", mismatch),
    ]
}

/// The files of the pristine source that identify a kernel tree, and those that the series touches.
fn pristine(context: &Context<'_>) -> Result<tempfile::TempDir> {
    let cache = Cache::open()?;
    let ui = Ui::new(true);
    let source = source::find(&ui, &cache, context.source)?;
    let none = Series::default();
    let tree = match &source.origin {
        Origin::Tree(path) => path.clone(),
        Origin::Tarball(_) => tree::patched(&ui, &cache, &source, &none)?
            .path()
            .to_path_buf(),
    };
    let dir = tempfile::tempdir()?;
    let series = Series::read(&context.layout.series())?;
    ensure!(!series.patches().is_empty(), "there is no series");
    let roots = ["Kbuild", "Makefile"].map(PathBuf::from);
    for file in series.files().into_iter().chain(roots) {
        let (from, to) = (tree.join(&file), dir.path().join(&file));
        if from.exists() {
            fs::create_dir_all(to.parent().unwrap_or(dir.path()))?;
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
    }
    Ok(dir)
}

fn patch(context: &Context<'_>, action: &str, tree: &Path) -> Result<super::command::Ran> {
    let words = ["patch", action, "--tree"].map(OsStr::new);
    Run::xtask(words.into_iter().chain([tree.as_os_str()]))?.run(context)
}

fn git_am(context: &Context<'_>) -> Result<()> {
    let dir = pristine(context)?;
    let sh = Shell::new()?;
    sh.change_dir(dir.path());
    let who = ["-c", "user.name=jiffy", "-c", "user.email=jiffy@localhost"];
    let series = context.layout.series();
    let mut files: Vec<_> = fs::read_dir(&series)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    cmd!(sh, "git init --quiet").quiet().run()?;
    cmd!(sh, "git add --all --force").quiet().run()?;
    cmd!(sh, "git {who...} commit --quiet --message pristine")
        .quiet()
        .run()?;
    cmd!(sh, "git {who...} am --quiet {files...}")
        .quiet()
        .run()?;

    // git am must give the same files as our command.
    let ours = pristine(context)?;
    patch(context, "apply", ours.path())?.ended_with(0)?;
    let (theirs, ours) = (dir.path(), ours.path());
    cmd!(sh, "diff --recursive --exclude=.git {theirs} {ours}")
        .quiet()
        .run()?;
    Ok(())
}

fn apply(context: &Context<'_>) -> Result<()> {
    let tree = pristine(context)?;
    patch(context, "check", tree.path())?.ended_with(0)?;
    patch(context, "apply", tree.path())?.ended_with(0)?;
    // Applying it a second time is refused, and the reason given.
    patch(context, "apply", tree.path())?
        .ended_with(1)?
        .complained("already")?;
    Ok(())
}

fn mismatch(context: &Context<'_>) -> Result<()> {
    let tree = pristine(context)?;
    let series = Series::read(&context.layout.series())?;
    let last = series.patches().last().context("there is no series")?;
    let Some(victim) = last
        .files()
        .iter()
        .map(|file| tree.path().join(file))
        .find(|file| file.exists())
    else {
        bail!("{} changes no file that is there before", last.name);
    };
    fs::write(&victim, "something else\n")?;
    let before = digest::tree(tree.path())?;
    patch(context, "apply", tree.path())?
        .ended_with(1)?
        .complained("hunk 1")?
        .complained(&victim.file_name().unwrap_or_default().to_string_lossy())?;
    ensure!(digest::tree(tree.path())? == before, "the tree was changed");
    Ok(())
}
