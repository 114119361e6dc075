//! What `cargo xtask bench` takes.

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::others;
use crate::base::failure::fault;
use crate::base::layout::Layout;
use crate::guest::artefacts::BuildOptions;
use crate::machine::kvm::{On, measured_on};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Suite {
    /// The runner with the halting kernel, against a C program of the fewest system calls
    Floor,
    /// Whole boots of one kernel and initramfs, in our runner and in QEMU's microvm
    Vmm,
    /// Boots without each patch and trick in turn, beside the boot with all of them; builds a kernel for most
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
    /// What is measured
    #[arg(long, value_enum, default_value_t = Suite::Floor)]
    pub(super) suite: Suite,
    /// Runs of each [default: 50; of ablation, 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) runs: Option<u32>,
    /// With --suite vmm, a VMM of yours beside: NAME is firecracker, cloud-hypervisor or crosvm, FILE its program
    #[arg(long, value_name = "NAME=FILE", value_parser = others::parse)]
    pub(super) vmm_path: Vec<others::Other>,
    /// Where: auto is this machine's KVM if it is of the hardware kind, else the lab
    #[arg(long, value_enum, default_value_t = On::Auto)]
    pub(super) on: On,
    /// Of ablation, these only: topics, patches or tricks, or single ones by the patch's number or the name in
    /// kernel-patches/ablation.toml
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// Put ablation's table into kernel-patches/README.md, between the profile's two marks
    #[arg(long)]
    pub(super) write: bool,
}

impl BenchOptions {
    /// Runs of each: many of what runs in turns, and of each of many kernels some, as the lab repeats.
    pub(super) fn runs(&self) -> u32 {
        self.runs.unwrap_or(match self.suite {
            Suite::Floor | Suite::Vmm => 50,
            Suite::Ablation => 3,
        })
    }
}

/// The kind of KVM that is measured on.
pub(super) fn kvm(layout: &Layout, options: &BenchOptions) -> Result<String> {
    let kvm = measured_on(layout, options.on)?;
    if kvm == "none" {
        return Err(fault(
            "this machine's KVM cannot be used; `--on lab` needs none",
        ));
    }
    Ok(kvm)
}
