//! `cargo xtask bench`: comparisons of speed.

mod ablation;
mod commands;
mod floor;
mod options;
mod others;
mod stopwatch;
mod vmm;

pub(crate) use options::BenchOptions;
pub(crate) use stopwatch::can_be_first;

use anyhow::Result;

use self::options::Suite;
use crate::base::failure::usage;
use crate::base::layout::Layout;

/// Runs the command.
pub(crate) fn run(layout: &Layout, options: &BenchOptions) -> Result<()> {
    let ablation = options.suite == Suite::Ablation;
    if !ablation && (options.write || !options.only.is_empty()) {
        return Err(usage("--only and --write need --suite ablation"));
    }
    match options.suite {
        Suite::Floor if !options.vmm_path.is_empty() => Err(usage("--vmm-path needs --suite vmm")),
        Suite::Ablation => ablation::run(layout, options),
        Suite::Floor => floor::run(layout, options),
        Suite::Vmm => vmm::run(layout, options),
    }
}
