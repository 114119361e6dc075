//! `cargo xtask doctor`: is this machine set up for fast VMs? A line for each thing that matters: what is, and, where that could
//! be better, what to change and what it would buy. It changes nothing.

mod finding;
mod machine;
mod settings;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiffy::report::Kind;
use serde::Serialize;

use self::finding::Finding;
use crate::base::layout::Layout;
use crate::base::ui::show;
use crate::machine::kvm::{Probe, probe};

const EXAMPLES: &str = "\
Exit status: 0, or 1 where no VM can run on this machine's KVM.

Examples:
  cargo xtask doctor
  cargo xtask doctor --json";

/// How to say it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorOptions {
    /// Print one JSON object on stdout, and nothing else there
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    /// Whether this machine's KVM can run VMs.
    usable: bool,
    checks: Vec<Finding>,
}

/// Runs the command.
pub(crate) fn run(layout: &Layout, options: &DoctorOptions) -> Result<ExitCode> {
    let probe = probe(layout)?;
    let mut checks = vec![kvm(&probe)];
    checks.extend(creation());
    checks.extend(findings(Path::new("/")));
    let report = Report {
        schema: 1,
        usable: probe.kind.is_some(),
        checks,
    };
    show(&report, options.json, |report| {
        let lines: Vec<_> = report.checks.iter().map(Finding::line).collect();
        lines.join("\n")
    })?;
    Ok(ExitCode::from(u8::from(!report.usable)))
}

/// All that files below a root tell.
fn findings(root: &Path) -> Vec<Finding> {
    settings::findings(root)
        .chain(machine::findings(root))
        .collect()
}

/// How long this machine takes to create a VM: among others, a thread where nx_huge_pages is on.
fn creation() -> Option<Finding> {
    let took = jiffy::report::probe::creation().ok()?;
    let us = took.as_secs_f64() * 1e6;
    Some(Finding::good(
        "KVM_CREATE_VM",
        format!("{us:.0} us (median)"),
    ))
}

fn kvm(probe: &Probe) -> Finding {
    let (is, change, buys) = match probe.kind {
        // The reason names what to do.
        None => (probe.reason.as_str(), "", ""),
        Some(Kind::Software) => (
            "usable, but the processor has no virtualization: KVM emulates guests' kernels",
            "turn VT-x or AMD-V on in the firmware, or, in a virtual machine, nested virtualization on its host",
            "boots in milliseconds instead of seconds",
        ),
        _ => ("usable, with a processor's virtualization", "", ""),
    };
    Finding {
        name: "/dev/kvm",
        is: is.to_owned(),
        good: !matches!(probe.kind, None | Some(Kind::Software)),
        change,
        buys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::fs;

    #[test]
    fn what_kvm_there_is_decides() {
        let found = |kind| {
            kvm(&Probe {
                kind,
                reason: "there is none".to_owned(),
            })
        };
        assert!(found(Some(Kind::Hardware)).good);
        assert_eq!(found(None).is, "there is none");
        expect![[r"
            change  /dev/kvm: usable, but the processor has no virtualization: KVM emulates guests' kernels
                    to change: turn VT-x or AMD-V on in the firmware, or, in a virtual machine, nested virtualization on its host
                    buys: boots in milliseconds instead of seconds"]]
        .assert_eq(&found(Some(Kind::Software)).line());
        assert_eq!(
            found(Some(Kind::Hardware)).line(),
            "good    /dev/kvm: usable, with a processor's virtualization"
        );
    }

    /// A machine of these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// What is not good, with its value.
    fn bad(files: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let found = findings(machine(files).path());
        for finding in &found {
            assert_eq!(finding.good, finding.change.is_empty(), "{finding:?}");
            assert_eq!(finding.good, finding.buys.is_empty(), "{finding:?}");
        }
        let bad = found.into_iter().filter(|finding| !finding.good);
        bad.map(|finding| (finding.name, finding.is)).collect()
    }

    const TUN: (&str, &str) = ("dev/net/tun", "");

    #[test]
    fn a_machine_that_is_set_up_needs_nothing() {
        let files = [
            TUN,
            (
                "sys/kernel/mm/transparent_hugepage/enabled",
                "always [madvise] never\n",
            ),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "performance\n",
            ),
            ("sys/module/kvm_amd/parameters/npt", "Y\n"),
            ("sys/module/kvm/parameters/nx_huge_pages", "N\n"),
            ("sys/module/kvm/parameters/halt_poll_ns", "200000\n"),
            (
                "sys/devices/system/cpu/vulnerabilities/meltdown",
                "Not affected\n",
            ),
            ("proc/cpuinfo", "flags\t\t: fpu svm\n"),
            ("proc/swaps", "Filename Type\n"),
            (
                "proc/self/mounts",
                "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,favordynmods 0 0\n",
            ),
            ("proc/self/cgroup", "0::/user.slice\n"),
        ];
        assert_eq!(bad(&files), []);
        // Each file is a line; those that are not there are none.
        assert_eq!(findings(machine(&files).path()).len(), files.len());
    }

    #[test]
    fn what_could_be_better_is_said() {
        let files = [
            (
                "sys/kernel/mm/transparent_hugepage/enabled",
                "always madvise [never]\n",
            ),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "powersave\n",
            ),
            ("sys/module/kvm_intel/parameters/ept", "N\n"),
            ("sys/module/kvm/parameters/nx_huge_pages", "Y\n"),
            ("sys/module/kvm/parameters/halt_poll_ns", "0\n"),
            (
                "sys/devices/system/cpu/vulnerabilities/mds",
                "Vulnerable: no microcode\n",
            ),
            ("proc/cpuinfo", "flags\t\t: fpu hypervisor\n"),
            ("proc/self/mounts", "none /sys/fs/cgroup cgroup2 rw 0 0\n"),
        ];
        let wanted = [
            ("transparent huge pages", "never"),
            ("frequency governor", "powersave"),
            ("nested paging of kvm_intel", "N"),
            ("huge pages that guests execute", "Y"),
            ("nanoseconds that a halted guest is polled for", "0"),
            ("machine", "a guest of another hypervisor"),
            ("mitigations", "none against mds"),
            (
                "entering a cgroup",
                "waits for all processors (no favordynmods)",
            ),
            ("taps, for --net", "there is no /dev/net/tun"),
        ];
        let wanted = wanted.map(|(name, is)| (name, is.to_owned()));
        assert_eq!(bad(&files), wanted);
    }

    #[test]
    fn an_empty_machine_is_no_panic() {
        assert_eq!(findings(machine(&[]).path()).len(), 1);
    }
}
