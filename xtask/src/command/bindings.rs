//! `cargo xtask bindings`: generates Rust declarations from the C headers that patches add to the kernel.
//!
//! The generated files are committed, so that only this command needs libclang.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use xshell::{Shell, cmd};

use crate::base::files::write;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::kernel::series::Series;

const EXAMPLES: &str = "\
Exit status: 0 done, or up to date; 1 failed, or with --check a file is out of date.

Examples:
  cargo xtask bindings --install
  cargo xtask bindings --check";

/// Options of `cargo xtask bindings`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BindingsOptions {
    /// Check whether the files are up to date, without writing them
    #[arg(long)]
    check: bool,
    /// Install missing system packages, after listing them
    #[arg(long)]
    install: bool,
}

/// A header that a patch of the series adds to the kernel, and the file generated from it.
struct Binding {
    /// From the kernel tree's root.
    header: &'static str,
    /// From the repository's root.
    file: &'static str,
    /// The beginning of the file.
    prologue: &'static str,
}

const BINDINGS: [Binding; 1] = [Binding {
    header: "include/linux/boot_trace.h",
    file: "userland/abi/src/trace.rs",
    prologue: "\
//! The boot trace that a kernel with `kernel-patches` keeps in its memory, at the symbol `boot_trace_buffer`:
//! a [`boot_trace_header`], then as many [`boot_trace_record`]s as its `capacity` says.
//!
//! `cargo xtask bindings` generates this file from include/linux/boot_trace.h, which says what the fields mean.
#![allow(missing_docs, non_camel_case_types)]
",
}];

/// Runs the command.
pub(crate) fn run(layout: &Layout, options: &BindingsOptions) -> Result<()> {
    install::ensure(&Ui::new(false), &[Need::Bindings], &[], options.install)?;
    let series = Series::read(&layout.series())?;
    for binding in &BINDINGS {
        let generated = binding.generate(layout, &series)?;
        let path = layout.root().join(binding.file);
        if !options.check {
            write(&path, generated.as_bytes())?;
            print(binding.file)?;
        } else if fs::read_to_string(&path).ok().as_deref() != Some(&generated) {
            bail!(
                "{} is not up to date with {}; run `cargo xtask bindings`",
                binding.file,
                binding.header
            );
        }
    }
    Ok(())
}

impl Binding {
    fn generate(&self, layout: &Layout, series: &Series) -> Result<String> {
        let tree = tempfile::tempdir().context("making a directory for the header")?;
        let sh = Shell::new()?;
        self.extract(layout, series, &sh, tree.path())?;
        let header = tree.path().join(self.header);
        // rustfmt takes the configuration of the directory that it runs in.
        sh.change_dir(layout.root());
        let rust = cmd!(
            sh,
            "cargo run --quiet --package xtask --features bindings --bin jiffy-bindgen -- {header}"
        )
        .quiet()
        .read()
        .with_context(|| format!("generating {}", self.file))?;
        let formatted = cmd!(sh, "rustfmt --edition 2024")
            .stdin(rust)
            .quiet()
            .read()
            .context("formatting what was generated")?;
        let (banner, declarations) = formatted
            .split_once('\n')
            .context("nothing was generated")?;
        Ok(format!("{banner}\n\n{}{declarations}\n", self.prologue))
    }

    /// Extracts the header from the patch that adds it.
    fn extract(&self, layout: &Layout, series: &Series, sh: &Shell, tree: &Path) -> Result<()> {
        let header = self.header;
        let patch = series
            .patches()
            .iter()
            .find(|patch| patch.files().contains(Path::new(header)))
            .with_context(|| format!("no patch of the series adds {header}"))?;
        let patch = layout.series().join(&patch.name);
        let _there = sh.push_dir(tree);
        cmd!(sh, "git apply --include={header} {patch}")
            .quiet()
            .run()
            .with_context(|| format!("taking {header} out of {}", patch.display()))
    }
}
