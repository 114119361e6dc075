//! `cargo xtask build`: the kernel, PID 1, the initramfs and the runner.

use std::fs;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::guest::artefacts::{BuildOptions, build};
use crate::guest::userland;

const EXAMPLES: &str = "\
Examples:
  cargo xtask build --install
  cargo xtask build --profile min --kernel-source ../linux
  cargo xtask build --kernel-source https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.12.tar.xz";

/// Options of `cargo xtask build`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(flatten)]
    options: BuildOptions,
    /// Also build the kernel for software KVM, on processors without virtualization
    #[arg(long)]
    compat: bool,
}

/// Runs the command.
pub(crate) fn run(layout: &Layout, command: &Command) -> Result<()> {
    let options = &command.options;
    let ui = Ui::new(options.quiet);
    let made = build(layout, &ui, options, command.compat)?;
    let runner = userland::runner(layout)?;
    if options.json {
        let steps: Vec<_> = ui
            .taken()
            .iter()
            .map(|step| json!({"name": step.name, "seconds": step.time.as_secs_f64()}))
            .collect();
        let made = json!({"schema": 1, "profile": options.profile, "vmlinux": made.vmlinux,
                "compat": made.compat, "initramfs": made.initramfs, "runner": runner, "steps": steps});
        return print(&made.to_string());
    }
    let files = [
        Some(made.vmlinux),
        made.compat,
        made.initramfs,
        Some(runner),
    ];
    for path in files.into_iter().flatten() {
        let bytes = fs::metadata(&path)
            .with_context(|| format!("looking at {}", path.display()))?
            .len();
        let shown = path.strip_prefix(layout.root()).unwrap_or(&path);
        ui.say(&format!("{} ({} KiB)", shown.display(), bytes / 1024));
    }
    Ok(())
}
