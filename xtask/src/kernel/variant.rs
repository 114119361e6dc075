//! Variants of a kernel, to be measured beside it: some files, answers or compiler's options differ.
//!
//! Each is built in a copy of the tree and starts with a copy of the build directory, so that only what differs is
//! compiled, and no variant has anything of the one before it.

use std::cell::Cell;
use std::fs::{self, File};

use anyhow::{Context, Result};

use crate::base::cache::Cache;
use crate::base::ui::Ui;
use crate::kernel::compile::{
    Kernel, Recipe, cached_as, compile, copy_build, forget_half_built, keep,
};
use crate::kernel::series::{Series, Subset};
use crate::kernel::source::Source;
use crate::kernel::tree::{self, Tree};

/// The cache's kind of such kernels.
const KIND: &str = "variants";

/// How many of them stay: those of two profiles, some ten MiB each.
const KEPT: usize = 160;

/// A copy of a kernel's tree, to build variants in.
pub(crate) struct Workshop<'a> {
    ui: &'a Ui,
    cache: &'a Cache,
    base: Tree,
    copy: Tree,
    /// Whether the kernel with everything has been seen to be there.
    ready: Cell<bool>,
    /// The copy is ours alone: its files change.
    _lock: File,
}

/// The variant with this key, when it has been built before.
pub(crate) fn cached(cache: &Cache, key: &str) -> Result<Option<Kernel>> {
    cached_as(cache, KIND, key)
}

impl<'a> Workshop<'a> {
    /// For the tree of this source and series.
    pub(crate) fn open(
        ui: &'a Ui,
        cache: &'a Cache,
        source: &Source,
        series: &Series,
    ) -> Result<Self> {
        let base = tree::patched(ui, cache, source, series)?;
        let copy = tree::derived(ui, cache, &base, "variants", &Series::default())?;
        let lock = cache.lock(&format!("variants-of-{}", copy.key))?;
        Ok(Self {
            ui,
            cache,
            base,
            copy,
            ready: Cell::new(false),
            _lock: lock,
        })
    }

    /// The tree with the whole series.
    pub(crate) fn base(&self) -> &Tree {
        &self.base
    }

    /// Builds the kernel of a recipe and of what is left of the series, beside that of `whole`.
    pub(crate) fn build(
        &self,
        key: &str,
        subset: &Subset,
        recipe: &Recipe<'_>,
        whole: &Recipe<'_>,
    ) -> Result<Kernel> {
        let entry = self.cache.entry(KIND, key, |aside| {
            let from = self.base.build_dir(whole.profile);
            let dir = self.copy.build_dir(recipe.profile);
            if dir.exists() {
                fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
            }
            let name = format!("build-{}-{}", self.base.key, whole.profile);
            let building = self.cache.lock(&name)?;
            self.prepare(whole)?;
            copy_build(&from, &dir)?;
            drop(building);
            subset.install(self.base.path(), self.copy.path())?;
            compile(self.ui, &self.copy, recipe, &dir, "compile the variant")?;
            keep(&dir, aside)
        })?;
        self.cache.prune(KIND, KEPT)?;
        Ok(Kernel { entry })
    }

    /// Sees to it once that the build directory is that of the kernel with everything: that kernel may be in the cache
    /// while its objects are gone, or are those of another configuration.
    fn prepare(&self, whole: &Recipe<'_>) -> Result<()> {
        if self.ready.get() {
            return Ok(());
        }
        let dir = self.base.build_dir(whole.profile);
        forget_half_built(&dir)?;
        let step = format!("bring the {} kernel's objects up to date", whole.profile);
        compile(self.ui, &self.base, whole, &dir, &step)?;
        self.ready.set(true);
        Ok(())
    }
}
