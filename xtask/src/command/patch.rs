//! `cargo xtask patch`: applies the series to the user's own kernel tree.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::base::layout::Layout;
use crate::base::ui::print;
use crate::kernel::series::Series;

/// The series, and the tree it is for.
#[derive(Args)]
pub(crate) struct PatchOptions {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the patches with their subjects
    List,
    /// Check whether the whole series applies to a tree, without changing it
    Check(Tree),
    /// Apply the series to a tree: all of it or, if a patch fails, nothing
    Apply(Tree),
}

#[derive(Args)]
struct Tree {
    /// A kernel source tree
    #[arg(long, value_name = "DIR")]
    tree: PathBuf,
}

/// Runs the command.
pub(crate) fn run(layout: &Layout, options: &PatchOptions) -> Result<()> {
    let dir = layout.series();
    let series = Series::read(&dir)?;
    let count = series.patches().len();
    if count == 0 {
        bail!("there are no patches in {}", dir.display());
    }
    match &options.action {
        Action::List => {
            for patch in series.patches() {
                print(&format!("{}  {}", patch.name, patch.subject))?;
            }
            Ok(())
        }
        Action::Check(Tree { tree }) => {
            series.stage(tree)?;
            print(&format!("{count} patches apply to {}", tree.display()))
        }
        Action::Apply(Tree { tree }) => {
            series.stage(tree)?.install(tree)?;
            print(&format!("{count} patches applied to {}", tree.display()))
        }
    }
}
