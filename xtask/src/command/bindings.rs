//! `cargo xtask bindings`: generates Rust declarations from C headers of the patched kernel.
//!
//! The generated files are committed, so that only this command needs libclang.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use xshell::{Shell, cmd};

use crate::base::cache::Cache;
use crate::base::files::write;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::kernel::series::Series;
use crate::kernel::source::{self, SourceOptions};
use crate::kernel::tree;

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
    #[command(flatten)]
    source: SourceOptions,
    /// Install missing system packages, after listing them
    #[arg(long)]
    install: bool,
}

/// A header of the kernel, and the file generated from it.
struct Binding {
    /// From the kernel tree's root.
    header: &'static str,
    /// From the repository's root.
    file: &'static str,
    /// The beginning of the file.
    prologue: &'static str,
}

const BINDINGS: [Binding; 3] = [
    Binding {
        header: "include/linux/boot_trace.h",
        file: "userland/abi/src/trace.rs",
        prologue: "\
//! The boot trace that a kernel with `kernel-patches` keeps in its memory, at the symbol `boot_trace_buffer`:
//! a [`boot_trace_header`], then as many [`boot_trace_record`]s as its `capacity` says.
//!
//! `cargo xtask bindings` generates this file from include/linux/boot_trace.h, which says what the fields mean.
#![allow(missing_docs, non_camel_case_types)]
",
    },
    Binding {
        header: "include/xen/interface/hvm/start_info.h",
        file: "host/src/load/bindings/start_info.rs",
        prologue: "\
//! The start info of PVH, Xen's boot protocol.
//!
//! `cargo xtask bindings` generates this file from include/xen/interface/hvm/start_info.h, which says what the fields mean.
#![allow(dead_code, non_camel_case_types, unreachable_pub)]
",
    },
    Binding {
        header: "arch/x86/include/asm/mpspec_def.h",
        file: "host/src/load/bindings/mpspec.rs",
        prologue: "\
//! The tables of Intel's MultiProcessor Specification.
//!
//! `cargo xtask bindings` generates this file from arch/x86/include/asm/mpspec_def.h, which says what the fields mean.
#![allow(
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub
)]
",
    },
];

/// Runs the command.
pub(crate) fn run(layout: &Layout, options: &BindingsOptions) -> Result<()> {
    let ui = Ui::new(false);
    let packages = options.source.packages()?;
    install::ensure(&ui, &[Need::Bindings], &packages, options.install)?;
    let cache = Cache::open()?;
    let source = source::find(&ui, &cache, &options.source)?;
    let tree = tree::patched(&ui, &cache, &source, &Series::read(&layout.series())?)?;
    for binding in &BINDINGS {
        let generated = binding.generate(layout, tree.path())?;
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
    fn generate(&self, layout: &Layout, tree: &Path) -> Result<String> {
        let header = tree.join(self.header);
        let sh = Shell::new()?;
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
}
