//! What backs guest memory: each kind that can be asked for, where the host has it and where it has not.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Check, Context};
use crate::build::{self, BuildOptions};
use crate::cache::Cache;
use crate::lab::{self, Job};
use crate::payload::read;
use crate::ui::Ui;
use crate::userland;

/// Boots in the lab, a report for each line; the pool is empty at first, and gets as much as a machine of 128 MiB takes.
const SCRIPT: &str = "set -e
boot() { /lab/jiffy run --kernel /lab/vmlinux --initrd /lab/cpio --json --pages $1 2>/dev/null; }
boot 2m
boot auto
boot thp
boot 4k
echo 64 > /proc/sys/vm/nr_hugepages
boot 2m
echo never > /sys/kernel/mm/transparent_hugepage/enabled
boot auto
boot thp";

/// What the reports tell, and whether with a warning.
const WANTED: [(&str, bool); 7] = [
    ("thp", true),
    ("thp", false),
    ("thp", false),
    ("4k", false),
    ("2m", false),
    ("4k", false),
    ("4k", false),
];

/// For guests and the pool.
const MEMORY_MIB: u64 = 512;

/// Seven boots, on a busy machine.
const TIMEOUT: u64 = 60;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("lab/pages", pages)]
}

fn pages(context: &Context<'_>) -> Result<()> {
    let options = BuildOptions::of_test("min", context.source);
    let ui = Ui::new(true);
    let min = build::build(context.layout, &ui, &options, false)?;
    let initramfs = min.initramfs.context("min has no initramfs")?;
    let files = [
        ("lab/jiffy", userland::runner(context.layout)?),
        ("lab/vmlinux", min.vmlinux),
        ("lab/cpio", initramfs),
    ];
    let job = Job {
        program: PathBuf::from("/bin/busybox"),
        arguments: ["sh", "-c", SCRIPT].map(Into::into).into(),
        programs: Vec::new(),
        files: files
            .iter()
            .map(|(name, path)| Ok(((*name).to_owned(), read(path)?)))
            .collect::<Result<_>>()?,
        devices: Vec::new(),
        memory_mib: MEMORY_MIB,
        timeout: Duration::from_secs(TIMEOUT),
        stdout: Box::new(io::sink()),
    };
    let said = lab::printed(context.layout, &ui, &Cache::open()?, &options, job)?;
    let reports = said.lines().map(serde_json::from_str::<Value>);
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    let found: Vec<_> = reports
        .iter()
        .map(|report| {
            let pages = report["pages"].as_str().unwrap_or_default();
            (pages, report["warnings"].is_array())
        })
        .collect();
    ensure!(found == WANTED, "{found:?}");
    Ok(())
}
