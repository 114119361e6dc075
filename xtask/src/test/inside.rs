//! Programs that run in the lab beside a runner and its guest: what cannot be seen from outside of the lab.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Context;
use crate::build::{self, BuildOptions};
use crate::cache::Cache;
use crate::devices::InLab;
use crate::lab::{self, Job};
use crate::payload::read;
use crate::ui::Ui;
use crate::userland;

/// How the runner is started there, with profile `default`; more options and a program may follow.
pub(crate) const RUNNER: &str =
    "/lab/jiffy run --quiet --kernel /lab/vmlinux --initrd /lab/initramfs";

/// Where the tests' peer is there.
pub(crate) const PEER: &str = "/lab/peer";

/// Where busybox is there, whatever runs.
pub(crate) const BUSYBOX: &str = "/lab/busybox";

/// Runs busybox' shell in the lab, and gives what it printed; `$1` and so on are `arguments`.
pub(crate) fn shell(
    context: &Context<'_>,
    disks: &InLab,
    script: &str,
    arguments: &[&str],
) -> Result<String> {
    let words = ["sh", "-c", script, "sh"]
        .into_iter()
        .chain(arguments.iter().copied());
    run(context, Path::new("/bin/busybox"), words, disks)
}

/// Runs the tests' peer in the lab, and gives what it printed.
pub(crate) fn peer<'a>(
    context: &Context<'_>,
    arguments: impl Iterator<Item = &'a str>,
) -> Result<String> {
    run(
        context,
        &userland::peer(context.layout)?,
        arguments,
        &InLab::default(),
    )
}

fn run<'a>(
    context: &Context<'_>,
    program: &Path,
    arguments: impl Iterator<Item = &'a str>,
    disks: &InLab,
) -> Result<String> {
    let (layout, ui) = (context.layout, Ui::new(true));
    let options = BuildOptions {
        profile: "default".to_owned(),
        source: context.source.clone(),
        jobs: None,
        install: false,
        quiet: true,
        json: false,
    };
    let guest = build::build(layout, &ui, &options, false)?;
    let file =
        |path: &str, from: PathBuf| Ok((path.trim_start_matches('/').to_owned(), read(&from)?));
    let job = Job {
        program: program.to_owned(),
        arguments: arguments.map(OsString::from).collect(),
        programs: Vec::new(),
        files: [
            file("lab/jiffy", userland::runner(layout)?),
            file(PEER, userland::peer(layout)?),
            file(BUSYBOX, "/bin/busybox".into()),
            file("lab/vmlinux", guest.vmlinux),
            file("lab/initramfs", guest.initramfs.context("no initramfs")?),
        ]
        .into_iter()
        .collect::<Result<_>>()?,
        devices: disks.qemu.clone(),
        memory_mib: 256,
        timeout: Duration::from_secs(120),
        stdout: Box::new(io::sink()),
    };
    lab::printed(layout, &ui, &Cache::open()?, &options, job)
}
