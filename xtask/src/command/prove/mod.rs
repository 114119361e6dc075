//! `cargo xtask prove`: boots a kernel with all of Linux's debugging checks in many ways, and looks for complaints.
//!
//! QEMU boots it once with our PID 1, with all devices of its machine and a program for each capability. Then it boots it
//! with `ci/guest/prove.c` as PID 1, once for each thing that a program may do first, in one machine that resets itself and
//! keeps its memory. Any fault in the kernel's log is an error.

mod guest;
mod judge;
mod smoke;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use jiffy::boot::MemorySize;

use self::guest::Guest;
use crate::base::cache::Cache;
use crate::base::files::{existing, write};
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::base::units::seconds;
use crate::guest::artefacts::{self, BuildOptions};
use crate::guest::userland;
use crate::kernel::source::SourceOptions;

const EXAMPLES: &str = "\
Exit status: 0 no fault found; 1 faults found, which are printed.

Examples:
  cargo xtask prove
  cargo xtask prove --profile check-smp --cpus 2 memory/
  cargo xtask prove --kernel ../linux/vmlinux --log /tmp/log network/tcp";

/// What to boot, and which rows.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProveOptions {
    /// Profile of the kernel: check, check-smp, or another one
    #[arg(long, value_name = "NAME", default_value = "check")]
    profile: String,
    #[command(flatten)]
    source: SourceOptions,
    /// Install missing system packages, after listing them
    #[arg(long)]
    install: bool,
    /// Boot this vmlinux instead of the profile's
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Guest memory
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: MemorySize,
    /// Number of processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// Words to add to the kernel's command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// How long all boots together may take
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    timeout: Duration,
    /// Write the kernels' logs to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Beginnings of the names of rows in ci/guest/prove.c, or `smoke` [default: all]
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
}

/// The row that is not in prove.c.
const SMOKE: &str = "smoke";

/// Runs the command.
pub(crate) fn run(layout: &Layout, options: &ProveOptions) -> Result<ExitCode> {
    let ui = Ui::new(false);
    install::ensure(
        &ui,
        &[Need::Build, Need::Qemu, Need::Test],
        &options.source.packages()?,
        options.install,
    )?;
    let kernel = match &options.kernel {
        Some(file) => existing("--kernel", file)?,
        None => {
            let build = BuildOptions::of_test(&options.profile, &options.source);
            artefacts::build(layout, &ui, &build, false)?.vmlinux
        }
    };
    for build in [userland::init, userland::peer, userland::guest] {
        build(layout)?;
    }
    let guest = Guest {
        layout,
        cache: Cache::open()?,
        kernel,
        memory_mib: options.memory.mib(),
        cpus: options.cpus,
        words: options.cmdline.clone().unwrap_or_default(),
        limit: Instant::now() + options.timeout,
    };
    let (smoke, rows): (Vec<_>, Vec<_>) = options
        .rows
        .iter()
        .map(String::as_str)
        .partition(|row| *row == SMOKE);
    let (mut log, mut found) = (String::new(), Vec::new());
    if !smoke.is_empty() || options.rows.is_empty() {
        let began = Instant::now();
        let (said, wrong) = smoke::run(&guest)?;
        log += &said;
        found.extend(wrong);
        ui.say(&format!("smoke: {:.1} s", began.elapsed().as_secs_f64()));
    }
    if !rows.is_empty() || options.rows.is_empty() {
        let began = Instant::now();
        let (said, wrong) = guest.boots(&rows)?;
        log += &said;
        found.extend(wrong);
        let boots = judge::boots(&said);
        ui.say(&format!(
            "{boots} boots: {:.1} s",
            began.elapsed().as_secs_f64()
        ));
    }
    if let Some(file) = &options.log {
        write(file, log.as_bytes())?;
    }
    for wrong in &found {
        print(wrong)?;
    }
    Ok(ExitCode::from(u8::from(!found.is_empty())))
}
