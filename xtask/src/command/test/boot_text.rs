//! Compares the list of boot functions that our kernels are built with to what a boot runs.

use std::collections::HashSet;

use anyhow::{Result, ensure};

use super::check::{Check, Context};
use super::traces::run::trace;
use crate::kernel::config::Config;

/// The profile to boot.
const PROFILE: &str = "min";

/// The row.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("trace/boot text", listed)]
}

/// The kernels are built with a list of the functions that a boot needs. What a boot runs may differ from it by chance, such
/// as by a timer interrupt.
fn listed(context: &Context<'_>) -> Result<()> {
    let ran = trace(context, PROFILE, &["--boot-text"])?.run(context)?;
    let needed: Vec<&str> = ran.ended_with(0)?.stdout.lines().collect();
    ensure!(needed.len() > 1_000, "{} functions", needed.len());
    let config = Config::profile(&context.layout.patches("config"), PROFILE)?;
    let known: HashSet<&str> = config.boot_text().lines().collect();
    let missing: Vec<_> = needed
        .iter()
        .filter(|name| !known.contains(*name))
        .collect();
    ensure!(
        missing.len() * 100 <= needed.len(),
        "boot-text lacks {missing:?}"
    );
    Ok(())
}
