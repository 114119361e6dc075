//! Builds the kernels of variants that are not in the cache.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::plan::{FILE, Plan};
use super::variant::Variant;
use crate::base::cache::Cache;
use crate::base::layout::Layout;
use crate::base::ui::Ui;
use crate::guest::artefacts::BuildOptions;
use crate::kernel::compile::{self, Kernel, Recipe};
use crate::kernel::config::Config;
use crate::kernel::series::{Series, Unpatched};
use crate::kernel::source::{self, Source};
use crate::kernel::tree;
use crate::kernel::variant::{self, Workshop};

/// What all variants are built from.
pub(super) struct Kernels<'a> {
    ui: &'a Ui,
    cache: &'a Cache,
    options: &'a BuildOptions,
    config: Config,
    compiler: String,
    source: Source,
    series: &'a Series,
}

/// A variant's kernel, and how it differs from what was asked for.
pub(super) struct Made {
    kernel: Kernel,
    /// Patches that were taken out in addition to those asked for.
    pub(super) with: Vec<String>,
    /// Settings of the profile that Kconfig did not grant.
    pub(super) not_granted: Vec<String>,
}

impl Made {
    /// The kernel's file.
    pub(super) fn vmlinux(&self) -> PathBuf {
        self.kernel.vmlinux()
    }
}

impl<'a> Kernels<'a> {
    /// Those of the options' profile and source.
    pub(super) fn new(
        layout: &Layout,
        ui: &'a Ui,
        cache: &'a Cache,
        options: &'a BuildOptions,
        series: &'a Series,
    ) -> Result<Self> {
        Ok(Self {
            ui,
            cache,
            options,
            config: Config::profile(&layout.patches("config"), &options.profile)?,
            compiler: compile::compiler(compile::GNU)?,
            source: source::find(ui, cache, &options.source)?,
            series,
        })
    }

    /// Where they are built.
    pub(super) fn workshop(&self) -> Result<Workshop<'a>> {
        Workshop::open(self.ui, self.cache, &self.source, self.series)
    }

    /// The recipe of the complete kernel.
    fn whole(&self) -> Recipe<'_> {
        Recipe {
            profile: &self.options.profile,
            config: &self.config,
            compiler: &self.compiler,
            jobs: self.options.jobs(),
            variables: &[],
        }
    }

    /// The kernel of a variant.
    pub(super) fn make(
        &self,
        workshop: &Workshop<'_>,
        unpatched: &Unpatched<'_>,
        plan: &Plan,
        variant: &Variant,
    ) -> Result<Made> {
        let subset = unpatched.without(&variant.without, &plan.companions)?;
        let mut config = self.config.clone();
        config.loosen();
        config.add_text(FILE, &variant.name, &variant.config)?;
        let clang = variant.uses_clang();
        let compiler = if clang {
            compile::compiler(compile::LLVM)?
        } else {
            self.compiler.clone()
        };
        let recipe = Recipe {
            config: &config,
            compiler: &compiler,
            variables: &variant.make,
            ..self.whole()
        };
        let key = recipe.key(&tree::key(&self.source.id, &subset.series));
        let kernel = match variant::cached(self.cache, &key)? {
            Some(kernel) => kernel,
            None => workshop.build(&key, &subset, &recipe, &self.whole())?,
        };
        let made = kernel.config().context("reading the variant's .config")?;
        let asked: &BTreeSet<String> = &variant.without;
        Ok(Made {
            with: subset.without.difference(asked).cloned().collect(),
            not_granted: config.not_granted(&made),
            kernel,
        })
    }
}
