//! Checks done by tools: formatting, lints, unit tests, the agreement of C and Rust on the kernel's structures, and fuzzing
//! of what reads untrusted input.

use anyhow::{Result, ensure};

use super::check::{Check, Context};
use super::command::Run;

/// Time limit in seconds: from a cold start, cargo compiles every dependency.
const TIMEOUT: u64 = 1200;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("cargo/fmt", |context| cargo(context, &["fmt", "--check"])),
        Check::new("cargo/clippy", |context| {
            let args = ["clippy", "--workspace", "--all-targets"];
            cargo(context, &[&args[..], &["--", "-Dwarnings"]].concat())
        }),
        Check::new("cargo/test", |context| cargo(context, &["test", "--quiet"])),
        Check::new("abi/header", |context| {
            let check = ["bindings", "--check"].into_iter();
            Run::xtask(check.chain(context.source.arguments()))?
                .timeout(TIMEOUT)
                .run(context)?
                .ended_with(0)?;
            Ok(())
        }),
        Check::new("doctor", |context| {
            let status = i32::from(context.no_kvm.is_some());
            let ran = Run::xtask(["doctor", "--json"])?.run(context)?;
            let report = ran.ended_with(status)?.json()?;
            ensure!(report["usable"] == context.no_kvm.is_none(), "{report}");
            Ok(())
        }),
        Check::new("fuzz", |context| {
            Run::program(&["ci/fuzz", "5"])
                .timeout(TIMEOUT)
                .run(context)?
                .ended_with(0)?;
            Ok(())
        }),
    ]
}

fn cargo(context: &Context<'_>, args: &[&str]) -> Result<()> {
    Run::program(&[&["cargo"], args].concat())
        .timeout(TIMEOUT)
        .run(context)?
        .ended_with(0)?;
    Ok(())
}
