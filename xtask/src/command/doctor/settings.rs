//! Settings in /sys with one value each, and which values are good for VMs.

use std::fs;
use std::path::Path;

use super::finding::Finding;

/// A file with one value.
struct Setting {
    name: &'static str,
    /// Relative to the root. If the file does not exist, the kernel lacks the feature.
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
        buys: "fewer page faults while a guest boots (Documentation/admin-guide/mm/transhuge.rst)",
    },
    Setting {
        name: "huge pages when none is free",
        path: "sys/kernel/mm/transparent_hugepage/defrag",
        good: |value| value != "never",
        change: "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
        buys: "huge pages for guests even if memory is fragmented (Documentation/admin-guide/mm/transhuge.rst)",
    },
    // Of no use to us: guest memory is private, and shared files are mapped in small pages.
    told(
        "huge pages of shared memory",
        "sys/kernel/mm/transparent_hugepage/shmem_enabled",
    ),
    told(
        "free huge pages of 2 MiB, for --pages 2m",
        "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
    ),
    Setting {
        name: "frequency governor",
        path: "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        good: |value| value == "performance",
        change: "cpupower frequency-set -g performance",
        buys: "boots that do not start at a low frequency (Documentation/admin-guide/pm/cpufreq.rst)",
    },
    Setting {
        name: "nested paging of kvm_intel",
        path: "sys/module/kvm_intel/parameters/ept",
        good: yes,
        change: "load kvm_intel with ept=1",
        buys: "no exits for a guest's page tables (Documentation/virt/kvm/x86/mmu.rst)",
    },
    Setting {
        name: "nested paging of kvm_amd",
        path: "sys/module/kvm_amd/parameters/npt",
        good: yes,
        change: "load kvm_amd with npt=1",
        buys: "no exits for a guest's page tables (Documentation/virt/kvm/x86/mmu.rst)",
    },
    told(
        "interrupts without exits, kvm_intel",
        "sys/module/kvm_intel/parameters/enable_apicv",
    ),
    told(
        "interrupts without exits, kvm_amd",
        "sys/module/kvm_amd/parameters/avic",
    ),
    Setting {
        name: "huge pages that guests execute",
        path: "sys/module/kvm/parameters/nx_huge_pages",
        good: |value| !yes(value),
        change: "if every guest is trusted: echo off > /sys/module/kvm/parameters/nx_huge_pages",
        buys: "huge pages that KVM does not split (Documentation/admin-guide/hw-vuln/multihit.rst)",
    },
    Setting {
        name: "nanoseconds that a halted guest is polled for",
        path: "sys/module/kvm/parameters/halt_poll_ns",
        good: |value| value != "0",
        change: "echo 200000 > /sys/module/kvm/parameters/halt_poll_ns",
        buys: "guests that wake sooner, at the cost of processor time (Documentation/virt/kvm/halt-polling.rst)",
    },
    told(
        "performance counters of guests",
        "sys/module/kvm/parameters/enable_pmu",
    ),
    // Of no use to us: guest memory is not registered for merging by madvise(2).
    told("merging of equal pages (KSM)", "sys/kernel/mm/ksm/run"),
];

/// A setting whose best value depends on the use, so only its value is shown.
const fn told(name: &'static str, path: &'static str) -> Setting {
    Setting {
        name,
        path,
        good: |_| true,
        change: "",
        buys: "",
    }
}

/// Whether a boolean module parameter is set.
fn yes(value: &str) -> bool {
    matches!(value, "Y" | "y" | "1")
}

/// The settings that exist below a root directory.
pub(super) fn findings(root: &Path) -> impl Iterator<Item = Finding> {
    SETTINGS.iter().filter_map(|setting| setting.read(root))
}

impl Setting {
    fn read(&self, root: &Path) -> Option<Finding> {
        let text = fs::read_to_string(root.join(self.path)).ok()?;
        let value = chosen(&text);
        let told = Finding::good(self.name, value);
        Some(if (self.good)(value) {
            told
        } else {
            Finding {
                good: false,
                change: self.change,
                buys: self.buys,
                ..told
            }
        })
    }
}

/// The word in brackets, or the whole text if there is none.
fn chosen(text: &str) -> &str {
    let bracketed = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    bracketed.map_or(text.trim(), |(chosen, _)| chosen)
}
