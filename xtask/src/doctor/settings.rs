//! What files of /sys, /proc and /dev tell, each with the values that are good for VMs.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::Finding;

/// A file with one value.
struct Setting {
    name: &'static str,
    /// From the root. Where it is not there, neither is what it is about.
    path: &'static str,
    good: fn(&str) -> bool,
    change: &'static str,
    buys: &'static str,
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "transparent huge pages",
        path: "sys/kernel/mm/transparent_hugepage/enabled",
        good: |value| value != "never",
        change: "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        buys: "a boot of min in 16.4 instead of 26.4 lab ms (host/src/memory/huge.rs)",
    },
    Setting {
        name: "huge pages when none is free",
        path: "sys/kernel/mm/transparent_hugepage/defrag",
        good: |value| value != "never",
        change: "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
        buys: "huge pages for guests in a memory that is in pieces (Documentation/admin-guide/mm/transhuge.rst)",
    },
    Setting {
        // Guest memory is private, and files of many machines are mapped in small pages.
        name: "huge pages of shared memory",
        path: "sys/kernel/mm/transparent_hugepage/shmem_enabled",
        good: |_| true,
        change: "",
        buys: "",
    },
    Setting {
        name: "free huge pages of 2 MiB, for --pages 2m",
        path: "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
        good: |_| true,
        change: "",
        buys: "",
    },
    Setting {
        name: "frequency governor",
        path: "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        good: |value| value == "performance",
        change: "cpupower frequency-set -g performance",
        buys: "no boot begins at a low frequency (Documentation/admin-guide/pm/cpufreq.rst)",
    },
    Setting {
        name: "nested paging of kvm_intel",
        path: "sys/module/kvm_intel/parameters/ept",
        good: yes,
        change: "load kvm_intel with ept=1",
        buys: "no exit for a guest's page tables (Documentation/virt/kvm/x86/mmu.rst)",
    },
    Setting {
        name: "nested paging of kvm_amd",
        path: "sys/module/kvm_amd/parameters/npt",
        good: yes,
        change: "load kvm_amd with npt=1",
        buys: "no exit for a guest's page tables (Documentation/virt/kvm/x86/mmu.rst)",
    },
    Setting {
        name: "interrupts without exits, kvm_intel",
        path: "sys/module/kvm_intel/parameters/enable_apicv",
        good: |_| true,
        change: "",
        buys: "",
    },
    Setting {
        name: "interrupts without exits, kvm_amd",
        path: "sys/module/kvm_amd/parameters/avic",
        good: |_| true,
        change: "",
        buys: "",
    },
    Setting {
        name: "huge pages that guests execute",
        path: "sys/module/kvm/parameters/nx_huge_pages",
        good: |value| !yes(value),
        change: "if every guest is trusted: echo off > /sys/module/kvm/parameters/nx_huge_pages",
        buys: "KVM keeps a kernel's huge pages whole (Documentation/admin-guide/hw-vuln/multihit.rst)",
    },
    Setting {
        name: "nanoseconds that a halted guest is polled for",
        path: "sys/module/kvm/parameters/halt_poll_ns",
        good: |value| value != "0",
        change: "echo 200000 > /sys/module/kvm/parameters/halt_poll_ns",
        buys: "guests that wake sooner, for processor time (Documentation/virt/kvm/halt-polling.rst)",
    },
    Setting {
        name: "performance counters of guests",
        path: "sys/module/kvm/parameters/enable_pmu",
        good: |_| true,
        change: "",
        buys: "",
    },
    Setting {
        // Guest memory is not offered to it, which madvise(2) would do.
        name: "merging of equal pages (KSM)",
        path: "sys/kernel/mm/ksm/run",
        good: |_| true,
        change: "",
        buys: "",
    },
];

/// How parameters of modules say yes.
fn yes(value: &str) -> bool {
    matches!(value, "Y" | "y" | "1")
}

/// All that there is to find below a root.
pub(super) fn findings(root: &Path) -> Vec<Finding> {
    let settings = SETTINGS.iter().filter_map(|setting| setting.read(root));
    let others = [nested(root), mitigations(root), swap(root)];
    settings
        .chain(others.into_iter().flatten())
        .chain([tap(root)])
        .collect()
}

impl Setting {
    fn read(&self, root: &Path) -> Option<Finding> {
        let text = fs::read_to_string(root.join(self.path)).ok()?;
        let value = chosen(&text);
        let good = (self.good)(value);
        Some(Finding {
            name: self.name,
            is: value.to_owned(),
            good,
            change: if good { "" } else { self.change },
            buys: if good { "" } else { self.buys },
        })
    }
}

/// Of several words the one in brackets, else all.
fn chosen(text: &str) -> &str {
    let bracketed = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    bracketed.map_or(text.trim(), |(chosen, _)| chosen)
}

fn good(name: &'static str, is: impl Into<String>) -> Finding {
    Finding {
        name,
        is: is.into(),
        good: true,
        change: "",
        buys: "",
    }
}

/// Whether this machine is a guest itself, by the processor's flag for that.
fn nested(root: &Path) -> Option<Finding> {
    let text = fs::read_to_string(root.join("proc/cpuinfo")).ok()?;
    let flags = text.lines().find(|line| line.starts_with("flags"))?;
    let guest = flags.split_whitespace().any(|flag| flag == "hypervisor");
    Some(if guest {
        Finding {
            good: false,
            change: "run on the machine below, if its times matter",
            buys: "exits of a guest that go to one hypervisor instead of two (Documentation/virt/kvm/x86/running-nested-guests.rst)",
            ..good("machine", "a guest of another hypervisor")
        }
    } else {
        good("machine", "no guest")
    })
}

/// What the processor is still open to. Never advice to turn a mitigation off: that is for who knows the guests.
fn mitigations(root: &Path) -> Option<Finding> {
    let dir = fs::read_dir(root.join("sys/devices/system/cpu/vulnerabilities")).ok()?;
    let mut open: Vec<String> = dir
        .flatten()
        .filter(|file| {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            text.starts_with("Vulnerable")
        })
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    open.sort();
    Some(if open.is_empty() {
        good("mitigations", "against everything that the kernel knows")
    } else {
        Finding {
            good: false,
            change: "update microcode and kernel, and boot without mitigations=off, unless every guest is trusted",
            buys: "guests that cannot read what is not theirs (Documentation/admin-guide/hw-vuln)",
            ..good("mitigations", format!("none against {}", open.join(", ")))
        }
    })
}

fn swap(root: &Path) -> Option<Finding> {
    let text = fs::read_to_string(root.join("proc/swaps")).ok()?;
    let devices = text.lines().skip(1).count();
    Some(match devices {
        0 => good("swap", "none"),
        _ => good("swap", format!("{devices}: guests may be swapped out")),
    })
}

fn tap(root: &Path) -> Finding {
    let opened = File::options()
        .read(true)
        .write(true)
        .open(root.join("dev/net/tun"));
    let is = match opened {
        Ok(_) => return good("taps, for --net", "may be opened"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no /dev/net/tun",
        Err(_) => "/dev/net/tun may not be opened",
    };
    Finding {
        good: false,
        change: "modprobe tun; as root: ip tuntap add NAME mode tap user $USER",
        buys: "--net (Documentation/networking/tuntap.rst)",
        ..good("taps, for --net", is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ];
        let wanted = [
            ("transparent huge pages", "never"),
            ("frequency governor", "powersave"),
            ("nested paging of kvm_intel", "N"),
            ("huge pages that guests execute", "Y"),
            ("nanoseconds that a halted guest is polled for", "0"),
            ("machine", "a guest of another hypervisor"),
            ("mitigations", "none against mds"),
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
