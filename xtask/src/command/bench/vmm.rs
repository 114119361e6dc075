//! Compares boots of the same kernel and initramfs in our runner and in other VMMs, from fork to PID 1's doorbell. The VMMs
//! take turns.
//!
//! The doorbell puts a byte on each VMM's standard output: ours writes it there (`--ready-fd 1`), and QEMU's debug console at
//! the doorbell's port is connected to it. The guest then ends the machine: by the runner's exit port, which in QEMU is an
//! `isa-debug-exit`. What can be observed of the user's own VMMs is in `others.rs`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use jiffy::report::Kind;
use serde::Serialize;

use super::commands::{Guest, QEMU, Seen, ours, qemu};
use super::options::{BenchOptions, kvm};
use super::stopwatch::{self, MEMORY_MIB, Race, Spread, shown};
use crate::base::failure::{fault, usage};
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, show};
use crate::guest::{artefacts, userland};

/// The directory of QEMU's firmware, and the files of it that a microvm needs.
const FIRMWARE: &str = "/usr/share/qemu";
const BLOBS: [(&str, &str); 3] = [
    ("qemu/qboot.rom", "qboot.rom"),
    ("qemu/bios-microvm.bin", "bios-microvm.bin"),
    ("qemu/pvh.bin", "pvh.bin"),
];

/// Times of one VMM in microseconds; null if they cannot be observed.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    to_ready_us: Option<Spread>,
    exit_us: Option<Spread>,
    /// Its median time to ready, divided by ours.
    ratio: Option<f64>,
}

/// The result; ours is the first row.
#[derive(Serialize)]
struct Report {
    schema: u32,
    suite: &'static str,
    kvm: Kind,
    profile: String,
    memory_mib: u64,
    runs: u32,
    rows: Vec<Row>,
}

/// Measures and prints.
pub(super) fn run(layout: &Layout, options: &BenchOptions) -> Result<()> {
    let ui = Ui::new(options.build.quiet);
    let kvm = kvm(layout, options)?;
    if kvm == Kind::Software {
        return Err(fault(
            "other VMMs cannot boot where KVM emulates the kernel; use --on lab",
        ));
    }
    if options.build.profile == artefacts::FLAT {
        return Err(usage("QEMU cannot boot the flat kernel; use --suite floor"));
    }
    let others = options.vmm_path.iter();
    let others = others.map(|other| Ok((other, other.program()?)));
    let others = others.collect::<Result<Vec<_>>>()?;
    install::ensure(&ui, &[Need::Qemu], &[], options.build.install)?;
    let made = artefacts::build(layout, &ui, &options.build, false)?;
    let guest = Guest {
        vmlinux: &made.vmlinux,
        cpio: &made.initramfs.context("this profile has no initramfs")?,
        dir: &layout.artefacts(&options.build.profile),
        in_lab: kvm == Kind::Lab,
    };
    let mut programs = vec![PathBuf::from(QEMU)];
    let mut vmms = vec![
        ours(userland::runner(layout)?, &guest),
        qemu(&programs[0], &guest),
    ];
    for (other, program) in others {
        vmms.push(other.vmm(program.clone(), &guest)?);
        programs.push(program);
    }
    let (names, commands): (Vec<_>, Vec<_>) = vmms
        .into_iter()
        .map(|vmm| ((vmm.name, vmm.seen), vmm.ended()))
        .unzip();
    let race = Race {
        runs: options.runs(),
        commands,
        programs,
        files: BLOBS
            .map(|(name, file)| (name, Path::new(FIRMWARE).join(file)))
            .into(),
    };
    let said = stopwatch::run(layout, &ui, &options.build, kvm, race)?;
    let report = Report {
        schema: 1,
        suite: "vmm",
        kvm,
        profile: options.build.profile.clone(),
        memory_mib: MEMORY_MIB,
        runs: options.runs(),
        rows: rows(&said, &names, options.runs())?,
    };
    show(&report, options.build.json, table)
}

fn rows(said: &str, names: &[(&'static str, Seen)], runs: u32) -> Result<Vec<Row>> {
    let all = stopwatch::parse(said, names.len(), runs)?;
    let first = all.first().and_then(|runs| runs.first_us.as_ref());
    let ours = first.map(|spread| spread.p50);
    let row = |(&(name, seen), runs): (&(&'static str, Seen), stopwatch::Runs)| {
        if let Seen::Both(status) | Seen::End(status) = seen {
            let ended = runs.status;
            ensure!(
                ended == Some(status),
                "{name} ended with {ended:?}, not {status}"
            );
        }
        let ready = match seen {
            Seen::End(_) => None,
            _ => Some(runs.first_us.with_context(|| {
                format!("{name} ended before its guest was ready: {:?}", runs.status)
            })?),
        };
        Ok(Row {
            name,
            ratio: ready
                .as_ref()
                .zip(ours)
                .map(|(ready, ours)| ready.p50 / ours),
            to_ready_us: ready,
            exit_us: (seen != Seen::Ready).then_some(runs.exit_us),
        })
    };
    names.iter().zip(all).map(row).collect()
}

fn table(report: &Report) -> String {
    let unit = stopwatch::unit(report.kvm);
    let mut lines = vec![
        format!(
            "| {}, {} MiB, {} KVM, median (90th percentile) of {}, {unit} | fork to ready | fork to exit | ready, to ours |",
            report.profile,
            report.memory_mib,
            report.kvm.name(),
            report.runs
        ),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(report.rows.iter().map(|row| {
        let time = |spread: &Option<Spread>| spread.as_ref().map_or("-".to_owned(), shown);
        let ratio = row
            .ratio
            .map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let (ready, exit) = (time(&row.to_ready_us), time(&row.exit_us));
        format!("| {} | {ready} | {exit} | {ratio} |", row.name)
    }));
    let lacks = |what: fn(&Row) -> bool| report.rows.iter().any(what);
    if lacks(|row| row.to_ready_us.is_none()) {
        lines.push("no time to ready: the VMM does not forward the doorbell; it exits when the guest restarts".to_owned());
    }
    if lacks(|row| row.exit_us.is_none()) {
        lines.push(
            "no time to exit: the VMM does not exit with its guest, so it was killed at ready"
                .to_owned(),
        );
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const NAMES: [(&str, Seen); 4] = [
        ("jiffy", Seen::Both(0)),
        ("qemu microvm", Seen::Both(1)),
        ("firecracker", Seen::End(0)),
        ("crosvm", Seen::Ready),
    ];

    fn said(qemu: i32, crosvm: &str) -> String {
        let line = |command, first: &str, status: &str| {
            format!(
                r#"{{"command":{command},"first_us":{first},"exit_us":9000,"status":{status}}}"#
            )
        };
        [
            line(0, "6000", "0"),
            line(1, "75000", &qemu.to_string()),
            line(2, "null", "0"),
            line(3, crosvm, "null"),
        ]
        .join("\n")
    }

    #[test]
    fn runs_become_a_table() {
        let report = Report {
            schema: 1,
            suite: "vmm",
            kvm: Kind::Lab,
            profile: "min".to_owned(),
            memory_mib: 128,
            runs: 1,
            rows: rows(&said(1, "12000"), &NAMES, 1).unwrap(),
        };
        expect![[r#"
            | min, 128 MiB, lab KVM, median (90th percentile) of 1, lab ms | fork to ready | fork to exit | ready, to ours |
            |---|---|---|---|
            | jiffy | 6.00 (6.00) | 9.00 (9.00) | 1.00 |
            | qemu microvm | 75.00 (75.00) | 9.00 (9.00) | 12.50 |
            | firecracker | - | 9.00 (9.00) | - |
            | crosvm | 12.00 (12.00) | - | 2.00 |
            no time to ready: the VMM does not forward the doorbell; it exits when the guest restarts
            no time to exit: the VMM does not exit with its guest, so it was killed at ready"#]].assert_eq(&table(&report));
    }

    #[test]
    fn a_vmm_that_ends_badly_or_too_early_is_an_error() {
        assert!(rows(&said(3, "1"), &NAMES, 1).is_err());
        assert!(rows(&said(1, "null"), &NAMES, 1).is_err());
    }
}
