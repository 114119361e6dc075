//! A kernel with debugging checks reports no fault. `ci/debug-kernel`, which is run by hand, tests what this row leaves out.

use anyhow::Result;

use super::check::{Check, Context};
use super::command::Run;

/// Time limit for compiling the kernel and booting it in QEMU, in seconds.
const TIMEOUT: u64 = 2400;

/// The command. The kernel with several processors has everything that the other debug kernel has, and real locks.
const KERNEL: [&str; 7] = [
    "prove",
    "--profile",
    "check-smp",
    "--cpus",
    "2",
    "--memory",
    "256M",
];

/// One row of ci/guest/prove.c for each way to reach work that may be postponed.
const ROWS: [&str; 22] = [
    "smoke",
    "memory/pagetypeinfo",
    "memory/kpage",
    "memory/compaction",
    "memory/huge",
    "memory/counters",
    "memory/watermarks",
    "memory/hunger",
    "memory/holes",
    "memory/too-much",
    "processors/",
    "trees/look-ups",
    "trees/at-once",
    "trees/events",
    "network/doors",
    "network/nobody",
    "network/families",
    "network/missing",
    "network/io_uring",
    "network/killed",
    "network/namespaces",
    "network/sysctl-list",
];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("debug/smp", debug).long()]
}

fn debug(context: &Context<'_>) -> Result<()> {
    let words = KERNEL.into_iter().chain(context.source.arguments());
    Run::xtask(words.chain(ROWS))?
        .timeout(TIMEOUT)
        .run(context)?
        .ended_with(0)?;
    Ok(())
}
