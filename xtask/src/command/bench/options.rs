//! Options of `cargo xtask bench`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiffy::report::Kind;

use super::others;
use crate::base::failure::fault;
use crate::base::layout::Layout;
use crate::guest::artefacts::BuildOptions;
use crate::machine::kvm::{On, measured_on};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Suite {
    /// The runner with the halting kernel, compared with a minimal C program
    Floor,
    /// Boots of one kernel and initramfs in our runner, in QEMU's microvm, and in VMMs given by --vmm-path
    Vmm,
    /// Boots without one patch or trick at a time, compared with the complete kernel; most need a kernel build
    Ablation,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench --suite floor
  cargo xtask bench --suite floor --on host --runs 200 --json
  cargo xtask bench --suite vmm --profile min --runs 15
  cargo xtask bench --suite vmm --profile min --on lab --vmm-path firecracker=./firecracker
  cargo xtask bench --suite ablation --profile min --only 0009,memblock
  cargo xtask bench --suite ablation --write";

/// What to measure, where, and how often.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchOptions {
    #[command(flatten)]
    pub(super) build: BuildOptions,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Suite::Floor)]
    pub(super) suite: Suite,
    /// Runs of each command [default: 50, with --suite ablation 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) runs: Option<u32>,
    /// With --suite vmm, another VMM to compare: NAME is firecracker, cloud-hypervisor or crosvm, FILE its program
    #[arg(long, value_name = "NAME=FILE", value_parser = others::parse)]
    pub(super) vmm_path: Vec<others::Other>,
    /// Where to measure: auto is this machine's KVM if that is hardware, else the lab
    #[arg(long, value_enum, default_value_t = On::Auto)]
    pub(super) on: On,
    /// With --suite ablation, only these: `topics`, `patches`, `tricks`, numbers of patches, or names from
    /// kernel-patches/ablation.toml
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// With --suite ablation, put the table into kernel-patches/README.md, between the profile's two marks
    #[arg(long)]
    pub(super) write: bool,
}

impl BenchOptions {
    /// Runs of each command. Ablation measures many kernels in the lab, where results repeat, so a few runs are enough.
    pub(super) fn runs(&self) -> u32 {
        self.runs.unwrap_or(match self.suite {
            Suite::Floor | Suite::Vmm => 50,
            Suite::Ablation => 3,
        })
    }
}

/// The kind of KVM to measure on.
pub(super) fn kvm(layout: &Layout, options: &BenchOptions) -> Result<Kind> {
    measured_on(layout, options.on)?
        .ok_or_else(|| fault("this machine's KVM cannot be used; use `--on lab`, which needs none"))
}
