//! Signals whose frames lie where a kernel's XSAVE faults: a processor honours pages' permissions, and so must what
//! completes the instruction for software KVM.

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use super::check::{Check, Context};
use super::command::Run;

/// The guest's program.
const FRAMES: &str = include_str!("signals/frames.c");

/// What it prints: signals handled on stacks of each kind, or killed by.
const GOOD: &str = "64 64 64 64 good\n";

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("host/signals", |context| signals(context, "host")).on_kvm(),
        Check::new("lab/signals", |context| signals(context, "lab")),
    ]
}

fn signals(context: &Context<'_>, on: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (source, program) = (dir.path().join("frames.c"), dir.path().join("frames"));
    std::fs::write(&source, FRAMES)?;
    let sh = Shell::new()?;
    cmd!(sh, "cc -O2 -Wall -Wextra -static -s -o {program} {source}")
        .quiet()
        .run()
        .context("compiling frames.c")?;
    let program = program.to_string_lossy();
    let args = ["boot", "--on", on, "--quiet", "--timeout", "300"];
    let words = args.into_iter().chain(context.source.arguments());
    Run::xtask(words.chain(["--", &program]))?
        .timeout(600)
        .run(context)?
        .ended_with(0)?
        .printed(GOOD)
        .map(|_| ())
}
