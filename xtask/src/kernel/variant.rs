//! Builds variants of a kernel to compare it with: other patches, configuration or compiler options.
//!
//! Each variant is built in a copy of the tree and starts with a copy of the build directory. So only what differs is
//! compiled, and nothing of the previous variant remains.

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

/// The cache's kind for variants.
const KIND: &str = "variants";

/// How many stay in the cache: those of two profiles, about 10 MiB each.
const KEPT: usize = 160;

/// A copy of a kernel's tree, to build variants in.
pub(crate) struct Workshop<'a> {
    ui: &'a Ui,
    cache: &'a Cache,
    base: Tree,
    copy: Tree,
    /// Whether the objects of the complete kernel are known to be up to date.
    ready: Cell<bool>,
    /// Exclusive, since building a variant changes the copy's files.
    _lock: File,
}

/// The variant with this key, if it is in the cache.
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

    /// Builds the complete kernel once, even if it is in the cache: its build directory, which variants are copied from, may
    /// be missing or belong to another configuration.
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
