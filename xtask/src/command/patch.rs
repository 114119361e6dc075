//! `cargo xtask patch`: applies the series to the user's own kernel tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::base::layout::Layout;
use crate::base::ui::print;
use crate::kernel::series::{Series, Staged};

/// The version of Linux that the series is for.
const FOR: &str = "6.12";

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
            stage(&series, tree)?;
            print(&format!("{count} patches apply to {}", tree.display()))
        }
        Action::Apply(Tree { tree }) => {
            stage(&series, tree)?.install(tree)?;
            print(&format!("{count} patches applied to {}", tree.display()))
        }
    }
}

/// Tries the series. If it does not match a tree of another version, that is said first.
fn stage(series: &Series, tree: &Path) -> Result<Staged> {
    series.stage(tree).map_err(|error| match version(tree) {
        Some(version) if version != FOR => {
            error.context(format!("this is Linux {version}, the series is for {FOR}"))
        }
        _ => error,
    })
}

/// The version of a kernel source tree, by the first lines of its Makefile: two numbers.
fn version(tree: &Path) -> Option<String> {
    let text = fs::read_to_string(tree.join("Makefile")).ok()?;
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start().strip_prefix('=').map(str::trim)
    };
    Some(format!("{}.{}", number("VERSION")?, number("PATCHLEVEL")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_said_first() {
        let tree = tempfile::tempdir().unwrap();
        let makefile = "# SPDX\nVERSION = 6\nPATCHLEVEL = 18\nSUBLEVEL = 3\n";
        fs::write(tree.path().join("Makefile"), makefile).unwrap();
        fs::write(tree.path().join("Kbuild"), "").unwrap();
        assert_eq!(version(tree.path()).as_deref(), Some("6.18"));
        let layout = Layout::find().unwrap();
        let series = Series::read(&layout.series()).unwrap();
        let error = stage(&series, tree.path()).err().unwrap();
        let said = format!("{error:#}");
        assert!(
            said.starts_with("this is Linux 6.18, the series is for 6.12: "),
            "{said}"
        );
    }
}
