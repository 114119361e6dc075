//! Builds the files of a profile, and the options for that which several commands share.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::base::cache::Cache;
use crate::base::files::make_dir;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::Ui;
use crate::guest::userland;
use crate::kernel::compile::{self, Kernel, Recipe};
use crate::kernel::config::{Config, compat_fragment};
use crate::kernel::series::Series;
use crate::kernel::source::{self, SourceOptions};
use crate::kernel::tree;

/// The profile of the halting kernel, which needs no kernel source.
pub(crate) const FLAT: &str = "flat";

/// Which patches the kernel has.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Patches {
    /// The whole series.
    #[default]
    Ours,
    /// None. Settings that only the patches add are left out.
    None,
}

/// Options of every command that builds.
#[derive(Args, Clone)]
pub(crate) struct BuildOptions {
    /// min, default, smp, debug, check, check-smp, lab, or flat. All leave out CPU mitigations within the guest
    /// (CONFIG_CPU_MITIGATIONS): run no programs in one guest that do not trust each other
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) profile: String,
    #[command(flatten)]
    pub(crate) source: SourceOptions,
    /// Which patches to apply: ours, or none, to compare with
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    pub(crate) series: Patches,
    /// Number of compilers to run in parallel [default: number of processors]
    #[arg(long, short, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Install missing system packages, after listing them
    #[arg(long)]
    pub(crate) install: bool,
    /// Print errors only
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Print one JSON object on stdout and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

impl BuildOptions {
    /// Number of compilers to run in parallel.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
    }

    /// Options for a check: quiet, with our patches.
    pub(crate) fn of_test(profile: &str, source: &SourceOptions) -> Self {
        Self {
            profile: profile.to_owned(),
            source: source.clone(),
            series: Patches::Ours,
            jobs: None,
            install: false,
            quiet: true,
            json: false,
        }
    }
}

/// The files of a profile.
pub(crate) struct Artefacts {
    /// The kernel.
    pub(crate) vmlinux: PathBuf,
    /// The kernel for software KVM, if it was asked for.
    pub(crate) compat: Option<PathBuf>,
    /// None for the flat kernel.
    pub(crate) initramfs: Option<PathBuf>,
}

/// Builds the files of a profile that are missing or out of date.
pub(crate) fn build(
    layout: &Layout,
    ui: &Ui,
    options: &BuildOptions,
    compat: bool,
) -> Result<Artefacts> {
    if options.profile == FLAT {
        return Ok(Artefacts {
            vmlinux: userland::flat(layout)?,
            compat: None,
            initramfs: None,
        });
    }
    let mut config = Config::profile(&layout.patches("config"), &options.profile)?;
    if options.series == Patches::None {
        config.loosen();
    }
    install::ensure(
        ui,
        &[Need::Build],
        &options.source.packages()?,
        options.install,
    )?;
    let (vmlinux, compat) = kernels(layout, ui, options, &config, compat)?;
    Ok(Artefacts {
        vmlinux,
        compat,
        initramfs: Some(userland::initramfs(layout, &options.profile)?),
    })
}

fn kernels(
    layout: &Layout,
    ui: &Ui,
    options: &BuildOptions,
    config: &Config,
    compat: bool,
) -> Result<(PathBuf, Option<PathBuf>)> {
    let cache = Cache::open()?;
    let profile = options.profile.as_str();
    let (series, dir) = match options.series {
        Patches::Ours => (Series::read(&layout.series())?, layout.artefacts(profile)),
        Patches::None => (Series::default(), layout.unpatched(profile)),
    };
    let source = source::find(ui, &cache, &options.source)?;
    let compiler = compile::compiler(compile::GNU)?;
    let jobs = options.jobs();
    let recipe = |config| Recipe {
        profile,
        config,
        compiler: &compiler,
        jobs,
        variables: &[],
    };
    let tree_key = tree::key(&source.id, &series);
    let tree = || tree::patched(ui, &cache, &source, &series);

    let production = match compile::cached(&cache, &recipe(config).key(&tree_key))? {
        Some(kernel) => kernel,
        None => compile::build(ui, &cache, &tree()?, &recipe(config), None)?,
    };
    let vmlinux = publish(&production, &dir, "vmlinux")?;
    if !compat {
        return Ok((vmlinux, None));
    }
    let patches = Series::read(&layout.patches("compat"))?;
    let mut config = config.clone();
    config.add(&compat_fragment(&layout.patches("compat")))?;
    let key = recipe(&config).key(&tree::key(&tree_key, &patches));
    let kernel = match compile::cached(&cache, &key)? {
        Some(kernel) => kernel,
        None => compile::build_compat(ui, &cache, &tree()?, &recipe(&config), &patches)?,
    };
    Ok((vmlinux, Some(publish(&kernel, &dir, "vmlinux-compat")?)))
}

/// Copies a kernel out of the cache, unless a copy with the same size and modification time is there.
fn publish(kernel: &Kernel, dir: &Path, name: &str) -> Result<PathBuf> {
    let (from, to) = (kernel.vmlinux(), dir.join(name));
    let stamp = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    if stamp(&to).is_some() && stamp(&to) == stamp(&from) {
        return Ok(to);
    }
    make_dir(dir)?;
    let aside = dir.join(format!(".{name}.new"));
    let copied = fs::copy(&from, &aside)
        .and_then(|_| fs::metadata(&from)?.modified())
        .and_then(|time| {
            fs::File::options()
                .append(true)
                .open(&aside)?
                .set_modified(time)
        })
        .and_then(|()| fs::rename(&aside, &to));
    if copied.is_err() {
        // Report the first error.
        let _ = fs::remove_file(&aside);
    }
    copied.with_context(|| format!("writing {}", to.display()))?;
    Ok(to)
}
