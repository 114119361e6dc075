//! Configures and compiles a kernel, and keeps the result in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::base::cache::{Cache, Entry};
use crate::base::digest;
use crate::base::ui::Ui;
use crate::kernel::config::{BOOT_TEXT, Config};
use crate::kernel::make::{self, Make};
use crate::kernel::tree::{self, Tree};

/// The cache's kind for kernels that are built for use.
const KIND: &str = "kernels";

/// How many kernels stay in the cache: a few versions of every profile, about 10 MiB each.
const KEPT: usize = 24;

/// This file marks a build directory while make runs in it. If a later build finds it, make was killed and may have left
/// an incomplete object, so the directory is discarded.
const UNDER_WAY: &str = ".jiffy-under-way";

/// A kernel in the cache.
pub(crate) struct Kernel {
    pub(super) entry: Entry,
}

impl Kernel {
    /// The ELF file, with symbols.
    pub(crate) fn vmlinux(&self) -> PathBuf {
        self.entry.path().join("vmlinux")
    }

    /// The text of its .config.
    pub(crate) fn config(&self) -> Result<String> {
        let path = self.entry.path().join("config");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// What to build, and from where.
pub(crate) struct Recipe<'a> {
    /// The profile's name.
    pub(crate) profile: &'a str,
    /// The configuration that the profile asks for.
    pub(crate) config: &'a Config,
    /// The compiler, as [`compiler`] names it.
    pub(crate) compiler: &'a str,
    /// How many processes make may run at the same time.
    pub(crate) jobs: usize,
    /// Variables of make, `NAME=VALUE`.
    pub(crate) variables: &'a [String],
}

impl Recipe<'_> {
    /// The cache key of the kernel that this recipe builds from a tree.
    pub(crate) fn key(&self, tree_key: &str) -> String {
        let config = self.config.text();
        let boot_text = self.config.boot_text();
        let mut parts = vec![tree_key, &config, boot_text, self.compiler, make::IDENTITY];
        parts.extend(self.variables.iter().map(String::as_str));
        let parts: Vec<_> = parts.into_iter().map(str::as_bytes).collect();
        digest::of(&parts)
    }
}

/// The kernel with this key, if it is in the cache.
pub(crate) fn cached(cache: &Cache, key: &str) -> Result<Option<Kernel>> {
    cached_as(cache, KIND, key)
}

pub(super) fn cached_as(cache: &Cache, kind: &str, key: &str) -> Result<Option<Kernel>> {
    if !cache.has(kind, key) {
        return Ok(None);
    }
    let entry = cache.entry(kind, key, |_| bail!("kernel {key} left the cache"))?;
    Ok(Some(Kernel { entry }))
}

/// The kernel of a recipe, built if it is not in the cache. A new build directory starts as a copy of `seed`'s.
pub(crate) fn build(
    ui: &Ui,
    cache: &Cache,
    tree: &Tree,
    recipe: &Recipe<'_>,
    seed: Option<(&Tree, &crate::kernel::series::Series)>,
) -> Result<Kernel> {
    let key = recipe.key(&tree.key);
    let entry = cache.entry(KIND, &key, |aside| {
        let profile = recipe.profile;
        let _building = cache.lock(&format!("build-{}-{profile}", tree.key))?;
        let dir = tree.build_dir(profile);
        forget_half_built(&dir)?;
        if let (Some((base, patches)), false) = (seed, dir.exists()) {
            let _base = cache.lock(&format!("build-{}-{profile}", base.key))?;
            touch(tree, patches)?;
            copy_build(&base.build_dir(profile), &dir)?;
        }
        let variant = if seed.is_some() {
            " for software KVM"
        } else {
            ""
        };
        let step = format!("compile the {profile} kernel{variant}");
        compile(ui, tree, recipe, &dir, &step)?;
        keep(&dir, aside)
    })?;
    cache.prune(KIND, KEPT)?;
    Ok(Kernel { entry })
}

/// Copies the files of a kernel's entry out of the build directory.
pub(super) fn keep(dir: &Path, entry: &Path) -> Result<()> {
    for (from, to) in [("vmlinux", "vmlinux"), (".config", "config")] {
        let from = dir.join(from);
        fs::copy(&from, entry.join(to)).with_context(|| format!("keeping {}", from.display()))?;
    }
    Ok(())
}

/// The compiler and linker that kernels are built with.
pub(crate) const GNU: [&str; 2] = ["gcc", "ld"];

/// The compiler and linker that make uses with `LLVM=1`.
pub(crate) const LLVM: [&str; 2] = ["clang", "ld.lld"];

/// The compiler's and linker's versions, which are part of a kernel's cache key.
pub(crate) fn compiler(tools: [&str; 2]) -> Result<String> {
    let sh = Shell::new()?;
    let mut names = Vec::new();
    for tool in tools {
        let said = cmd!(sh, "{tool} --version")
            .quiet()
            .read()
            .with_context(|| {
                format!(
                    "{tool} does not run; `cargo xtask build --install` installs what is missing"
                )
            })?;
        names.push(said.lines().next().unwrap_or_default().to_owned());
    }
    Ok(names.join("; "))
}

pub(super) fn forget_half_built(dir: &Path) -> Result<()> {
    if dir.join(UNDER_WAY).exists() {
        fs::remove_dir_all(dir)
            .with_context(|| format!("removing {}, which a killed build left", dir.display()))?;
    }
    Ok(())
}

/// Copies a complete build directory, if there is one, so that only what differs is compiled again.
pub(super) fn copy_build(from: &Path, to: &Path) -> Result<()> {
    if !from.join("vmlinux").exists() || from.join(UNDER_WAY).exists() {
        return Ok(());
    }
    let aside = to.with_file_name(format!(
        ".{}",
        to.file_name().unwrap_or_default().to_string_lossy()
    ));
    if aside.exists() {
        fs::remove_dir_all(&aside).with_context(|| format!("removing {}", aside.display()))?;
    }
    let sh = Shell::new()?;
    cmd!(sh, "cp --archive --reflink=auto {from} {aside}")
        .quiet()
        .run()
        .context("copying a build directory")?;
    fs::rename(&aside, to).with_context(|| format!("moving {} into place", aside.display()))
}

/// Gives the files that the patches change a new modification time. The tree may be older than the objects of another profile.
fn touch(tree: &Tree, patches: &crate::kernel::series::Series) -> Result<()> {
    for file in patches.files() {
        let file = tree.path().join(file);
        fs::File::options()
            .append(true)
            .open(&file)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()))
            .with_context(|| format!("touching {}", file.display()))?;
    }
    Ok(())
}

pub(super) fn compile(
    ui: &Ui,
    tree: &Tree,
    recipe: &Recipe<'_>,
    dir: &Path,
    step: &str,
) -> Result<()> {
    crate::base::files::make_dir(dir)?;
    let marker = dir.join(UNDER_WAY);
    fs::write(&marker, "").with_context(|| format!("writing {}", marker.display()))?;
    let make = Make::new(tree.path(), dir, recipe.jobs, recipe.variables);
    let made = configure(&make, recipe, dir).and_then(|()| make.compile(ui, step));
    // make ended by itself, so even if it failed it has removed incomplete objects.
    fs::remove_file(&marker).with_context(|| format!("removing {}", marker.display()))?;
    made
}

fn configure(make: &Make, recipe: &Recipe<'_>, dir: &Path) -> Result<()> {
    let requested = dir.join("jiffy.config");
    fs::write(&requested, recipe.config.text())
        .with_context(|| format!("writing {}", requested.display()))?;
    make.configure(&requested)?;
    write_if_new(&dir.join(BOOT_TEXT), recipe.config.boot_text())?;
    let made = dir.join(".config");
    let text = fs::read_to_string(&made).with_context(|| format!("reading {}", made.display()))?;
    recipe
        .config
        .check(&text)
        .with_context(|| format!("profile {}", recipe.profile))
}

/// Writes a file only if its content changes, so that make does not rebuild what depends on it.
fn write_if_new(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// The kernel for a host with software KVM: the production kernel plus the compat patches and fragment.
pub(crate) fn build_compat(
    ui: &Ui,
    cache: &Cache,
    base: &Tree,
    recipe: &Recipe<'_>,
    patches: &crate::kernel::series::Series,
) -> Result<Kernel> {
    let tree = tree::derived(ui, cache, base, "software KVM", patches)?;
    build(ui, cache, &tree, recipe, Some((base, patches)))
}
