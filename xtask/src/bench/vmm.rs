//! Whole boots in other VMMs beside ours, of the same kernel and initramfs, in turns: from fork to PID 1's doorbell.
//!
//! The doorbell puts a byte on each VMM's standard output: ours writes it there (`--ready-fd 1`), and QEMU's debug console at
//! the doorbell's port is connected to it. The guest then ends the machine: by the runner's exit port, which in QEMU is an
//! `isa-debug-exit`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use jiffy_abi::port;
use serde::Serialize;

use super::BenchOptions;
use super::stopwatch::{self, MEMORY_MIB, Race, Spread, Word, shown};
use crate::build;
use crate::failure::{fault, usage};
use crate::install::{self, Need};
use crate::kvm::LAB;
use crate::layout::Layout;
use crate::ui::{Ui, show};
use crate::userland;

/// QEMU's program. Debian's other one, for microvm alone, has no debug console.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Where QEMU's firmware is, and what of it a microvm takes.
const FIRMWARE: &str = "/usr/share/qemu";
const BLOBS: [(&str, &str); 3] = [
    ("qemu/qboot.rom", "qboot.rom"),
    ("qemu/bios-microvm.bin", "bios-microvm.bin"),
    ("qemu/pvh.bin", "pvh.bin"),
];

/// A microvm of as few devices as it can have; the kernel's time comes from KVM's clock.
const MICROVM: &str =
    "microvm,accel=kvm,acpi=off,pic=off,pit=off,rtc=off,isa-serial=off,usb=off,pcie=off";

/// What `isa-debug-exit` makes of the 0 that PID 1 writes.
const QEMU_STATUS: i32 = 1;

/// What the kernel is told in other VMMs: as ours tells it, but for the TSC's frequency, which it learns from KVM. Of QEMU's
/// memory, too, all is zero above 1 MiB but the kernel and the initramfs: its firmware, qboot, keeps below.
const COMMAND_LINE: &str = "panic=-1 reboot=t tsc=reliable memblock=zeroed";

/// A VMM: its name, its command, and the status with which it ends well.
struct Vmm {
    name: &'static str,
    command: Vec<Word>,
    status: i32,
}

/// What became of one, in microseconds.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    to_ready_us: Spread,
    exit_us: Spread,
    /// Its median to ready over ours.
    ratio: f64,
}

/// The result; ours is the first row.
#[derive(Serialize)]
struct Report {
    schema: u32,
    suite: &'static str,
    kvm: String,
    profile: String,
    memory_mib: u64,
    runs: u32,
    rows: Vec<Row>,
}

/// Measures and prints.
pub(super) fn run(layout: &Layout, options: &BenchOptions) -> Result<()> {
    let ui = Ui::new(options.build.quiet);
    let kvm = super::kvm(layout, options)?;
    if kvm == "software" {
        return Err(fault(
            "other VMMs cannot boot where KVM emulates the kernel; use --on lab",
        ));
    }
    if options.build.profile == build::FLAT {
        return Err(usage(
            "the flat kernel is not booted by QEMU; see --suite floor",
        ));
    }
    install::ensure(&ui, &[Need::Qemu], &[], options.build.install)?;
    let made = build::build(layout, &ui, &options.build, false)?;
    let initramfs = made.initramfs.context("this profile has no initramfs")?;
    let guest = || {
        (
            Word::file("vmlinux", made.vmlinux.clone()),
            Word::file("initramfs.cpio", initramfs.clone()),
        )
    };
    let program = PathBuf::from(QEMU);
    let vmms = [
        ours(userland::runner(layout)?, guest()),
        qemu(&program, guest(), kvm == LAB),
    ];
    let (names, commands): (Vec<_>, Vec<_>) = vmms
        .into_iter()
        .map(|vmm| ((vmm.name, vmm.status), vmm.command))
        .unzip();
    let race = Race {
        commands,
        programs: vec![program],
        files: BLOBS
            .map(|(name, file)| (name, Path::new(FIRMWARE).join(file)))
            .into(),
    };
    let said = stopwatch::run(layout, &ui, options, &kvm, race)?;
    let report = Report {
        schema: 1,
        suite: "vmm",
        kvm,
        profile: options.build.profile.clone(),
        memory_mib: MEMORY_MIB,
        runs: options.runs,
        rows: rows(&said, &names, options.runs)?,
    };
    show(&report, options.build.json, table)
}

fn ours(runner: PathBuf, (kernel, initramfs): (Word, Word)) -> Vmm {
    let mut command = vec![Word::file("jiffy", runner)];
    command.extend(["run", "--quiet", "--ready-fd", "1", "--kernel"].map(Word::text));
    command.extend([kernel, Word::text("--initrd"), initramfs]);
    Vmm {
        name: "jiffy",
        command,
        status: 0,
    }
}

fn qemu(program: &Path, (kernel, initramfs): (Word, Word), in_lab: bool) -> Vmm {
    let console = format!("isa-debugcon,iobase={:#x},chardev=ready", port::READY);
    let exit = format!("isa-debug-exit,iobase={:#x},iosize=1", port::EXIT);
    let memory = format!("{MEMORY_MIB}M");
    let mut command = vec![Word::text(program)];
    command.extend(["-M", MICROVM, "-cpu", "host", "-m", &memory].map(Word::text));
    let plain = "-nodefaults -no-user-config -display none -no-reboot";
    command.extend(plain.split(' ').map(Word::text));
    if in_lab {
        command.extend(["-L", "/lab/qemu"].map(Word::text));
    }
    command.extend(["-chardev", "stdio,id=ready,signal=off"].map(Word::text));
    command.extend(["-device", &console, "-device", &exit].map(Word::text));
    command.extend(["-append", COMMAND_LINE, "-kernel"].map(Word::text));
    command.extend([kernel, Word::text("-initrd"), initramfs]);
    Vmm {
        name: "qemu microvm",
        command,
        status: QEMU_STATUS,
    }
}

fn rows(said: &str, names: &[(&'static str, i32)], runs: u32) -> Result<Vec<Row>> {
    let all = stopwatch::parse(said, names.len(), runs)?;
    let ours = all.first().map_or(0.0, |runs| runs.first_us.p50);
    let row = |(&(name, status), runs): (&(&'static str, i32), stopwatch::Runs)| {
        let ended = runs.status;
        ensure!(ended == status, "{name} ended with {ended}, not {status}");
        Ok(Row {
            name,
            ratio: runs.first_us.p50 / ours,
            to_ready_us: runs.first_us,
            exit_us: runs.exit_us,
        })
    };
    names.iter().zip(all).map(row).collect()
}

fn table(report: &Report) -> String {
    let unit = stopwatch::unit(&report.kvm);
    let mut lines = vec![
        format!(
            "| {}, {} MiB, {} KVM, median (90th percentile) of {}, {unit} | fork to ready | fork to exit | ready, to ours |",
            report.profile, report.memory_mib, report.kvm, report.runs
        ),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(report.rows.iter().map(|row| {
        let (ready, exit) = (shown(&row.to_ready_us), shown(&row.exit_us));
        format!("| {} | {ready} | {exit} | {:.2} |", row.name, row.ratio)
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const NAMES: [(&str, i32); 2] = [("jiffy", 0), ("qemu microvm", 1)];

    fn said(status: i32) -> String {
        let line = |command, first, status| {
            format!(
                r#"{{"command":{command},"first_us":{first},"exit_us":9000,"status":{status}}}"#
            )
        };
        [line(0, 6000, 0), line(1, 75_000, status)].join("\n")
    }

    #[test]
    fn runs_become_a_table() {
        let report = Report {
            schema: 1,
            suite: "vmm",
            kvm: "lab".to_owned(),
            profile: "min".to_owned(),
            memory_mib: 128,
            runs: 1,
            rows: rows(&said(1), &NAMES, 1).unwrap(),
        };
        expect![[r#"
            | min, 128 MiB, lab KVM, median (90th percentile) of 1, lab ms | fork to ready | fork to exit | ready, to ours |
            |---|---|---|---|
            | jiffy | 6.00 (6.00) | 9.00 (9.00) | 1.00 |
            | qemu microvm | 75.00 (75.00) | 9.00 (9.00) | 12.50 |"#]]
        .assert_eq(&table(&report));
    }

    #[test]
    fn a_vmm_that_ends_badly_is_an_error() {
        assert!(rows(&said(3), &NAMES, 1).is_err());
    }
}
