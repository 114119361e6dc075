//! What else of the machine tells whether VMs will be fast on it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::finding::Finding;

/// All that there is to find below a root.
pub(super) fn findings(root: &Path) -> impl Iterator<Item = Finding> {
    let found = [
        nested(root),
        mitigations(root),
        swap(root),
        favordynmods(root),
        cgroup(root),
    ];
    found.into_iter().flatten().chain([tap(root)])
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
            ..Finding::good("machine", "a guest of another hypervisor")
        }
    } else {
        Finding::good("machine", "no guest")
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
        Finding::good("mitigations", "against everything that the kernel knows")
    } else {
        Finding {
            good: false,
            change: "update microcode and kernel, and boot without mitigations=off, unless every guest is trusted",
            buys: "guests that cannot read what is not theirs (Documentation/admin-guide/hw-vuln)",
            ..Finding::good("mitigations", format!("none against {}", open.join(", ")))
        }
    })
}

/// Whether a process enters a cgroup without waiting, as a runner with --cgroup does.
fn favordynmods(root: &Path) -> Option<Finding> {
    let text = fs::read_to_string(root.join("proc/self/mounts")).ok()?;
    let mut mounts = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|fields| fields.get(2) == Some(&"cgroup2"))?;
    let has = mount
        .get(3)
        .is_some_and(|options| options.split(',').any(|option| option == "favordynmods"));
    Some(if has {
        Finding::good("entering a cgroup", "without a wait (favordynmods)")
    } else {
        Finding {
            good: false,
            change: "mount -o remount,favordynmods /sys/fs/cgroup",
            buys: "--cgroup without waiting for all processors; forks get slower (Documentation/admin-guide/cgroup-v2.rst)",
            ..Finding::good(
                "entering a cgroup",
                "waits for all processors (no favordynmods)",
            )
        }
    })
}

/// The cgroup that a runner gets without --cgroup.
fn cgroup(root: &Path) -> Option<Finding> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Finding::good(
        "cgroup of guests without --cgroup",
        if path == "/" {
            "the root: no limits"
        } else {
            path
        },
    ))
}

fn swap(root: &Path) -> Option<Finding> {
    let text = fs::read_to_string(root.join("proc/swaps")).ok()?;
    let devices = text.lines().skip(1).count();
    Some(match devices {
        0 => Finding::good("swap", "none"),
        _ => Finding::good("swap", format!("{devices}: guests may be swapped out")),
    })
}

fn tap(root: &Path) -> Finding {
    let opened = File::options()
        .read(true)
        .write(true)
        .open(root.join("dev/net/tun"));
    let is = match opened {
        Ok(_) => return Finding::good("taps, for --net", "may be opened"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no /dev/net/tun",
        Err(_) => "/dev/net/tun may not be opened",
    };
    Finding {
        good: false,
        change: "modprobe tun; as root: ip tuntap add NAME mode tap user $USER",
        buys: "--net (Documentation/networking/tuntap.rst)",
        ..Finding::good("taps, for --net", is)
    }
}
