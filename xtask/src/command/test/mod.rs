//! `cargo xtask test`: every test of the project, from a clean machine.
//!
//! Cargo's own tests come first, then whole boots: in the lab, on this machine's KVM, and in QEMU's microvm. Each check is
//! a row with a name and a time limit.

mod ablation;
mod basics;
mod bench;
mod boot_text;
mod boots;
mod budget;
mod cgroup;
mod check;
mod command;
mod debug;
mod devices;
mod ends;
mod foreign;
mod guests;
mod inputs;
mod inside;
mod kernels;
mod killed;
mod linux;
mod many;
mod network;
mod pages;
mod patches;
mod same;
mod signals;
mod slow;
mod smoke;
mod terminal;
mod tools;
mod traces;
mod vsock;

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use self::check::{Check, Context};
use crate::base::files::existing;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::kernel::source::SourceOptions;

const EXAMPLES: &str = "\
Examples:
  cargo xtask test --install
  cargo xtask test --only lab/";

/// Which tests to run.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TestOptions {
    #[command(flatten)]
    source: SourceOptions,
    /// Install missing system packages, after listing them
    #[arg(long)]
    install: bool,
    /// Run only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Also run tests that take too long for every change
    #[arg(long)]
    long: bool,
    /// Kernel to test in same/ and linux/ instead of profile default's; it must have the series and the same configuration
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
}

/// How many checks passed, failed and were skipped.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs the command.
pub(crate) fn run(layout: &Layout, options: &TestOptions) -> Result<ExitCode> {
    let ui = Ui::new(false);
    let mut needs = vec![Need::Build, Need::Qemu, Need::Test, Need::Bindings];
    if install::is_debian() {
        needs.push(Need::Debian);
    }
    install::ensure(&ui, &needs, &options.source.packages()?, options.install)?;
    let mut checks = all();
    checks.retain(|check| options.long || !check.long);
    if let Some(only) = &options.only {
        checks.retain(|check| check.name.contains(only.as_str()));
    }
    let context = Context {
        layout,
        source: &options.source,
        kernel: options
            .kernel
            .as_deref()
            .map(|file| existing("--kernel", file))
            .transpose()?,
        no_kvm: boots::no_kvm(layout)?,
    };
    let began = Instant::now();
    let mut count = Count::default();
    for check in &checks {
        row(check, &context, &mut count)?;
    }
    ui.say(&format!("took {} s", began.elapsed().as_secs()));
    print(&count.line())?;
    Ok(ExitCode::from(u8::from(count.failed > 0)))
}

/// All rows, in the order in which they run.
fn all() -> Vec<Check> {
    let mut checks = tools::checks();
    checks.extend(patches::checks());
    checks.extend(boots::checks());
    checks.extend(basics::checks());
    checks.extend(signals::checks());
    checks.extend(bench::checks());
    checks.extend(budget::checks());
    checks.extend(ablation::checks());
    checks.extend(linux::checks());
    checks.extend(same::checks());
    checks.extend(many::checks());
    checks.extend(pages::checks());
    checks.extend(smoke::checks());
    checks.extend(devices::checks());
    checks.extend(foreign::checks());
    checks.extend(cgroup::checks());
    checks.extend(killed::checks());
    checks.extend(network::checks());
    checks.extend(ends::checks());
    checks.extend(terminal::checks());
    checks.extend(vsock::checks());
    checks.extend(inputs::checks());
    checks.extend(kernels::checks());
    checks.extend(traces::checks());
    checks.extend(boot_text::checks());
    checks.extend(debug::checks());
    checks
}

fn row(check: &Check, context: &Context<'_>, count: &mut Count) -> Result<()> {
    // Flush so that the row is visible while its check runs. The next print notices if stdout is closed.
    let _ = write!(io::stdout(), "test {} ... ", check.name).and_then(|()| io::stdout().flush());
    let began = Instant::now();
    let no_kvm = context.no_kvm.as_ref().filter(|_| check.needs_kvm);
    let done = match no_kvm.or(check.not.as_ref()) {
        Some(reason) if in_ci() => Err(anyhow::anyhow!("{reason}")),
        Some(reason) => {
            count.skipped += 1;
            return print(&format!("skipped: {reason}"));
        }
        None => (check.run)(context),
    };
    let seconds = began.elapsed().as_secs_f64();
    match done {
        Ok(()) => {
            count.passed += 1;
            print(&format!("ok ({seconds:.1} s)"))
        }
        Err(error) => {
            count.failed += 1;
            print(&format!("FAILED ({seconds:.1} s)\n{error:#}"))
        }
    }
}

/// CI has KVM and everything else, so nobody would run a check that is skipped there.
fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

impl Count {
    fn line(&self) -> String {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        if *skipped > 0 {
            format!("{passed} passed, {failed} failed, {skipped} skipped")
        } else {
            format!("{passed} passed, {failed} failed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let mut count = Count {
            passed: 3,
            failed: 1,
            skipped: 0,
        };
        assert_eq!(count.line(), "3 passed, 1 failed");
        count.skipped = 2;
        assert_eq!(count.line(), "3 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn names_are_unique() {
        let checks = all();
        let mut names: Vec<_> = checks.iter().map(|check| &check.name).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
