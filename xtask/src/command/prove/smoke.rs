//! Checks everything that a profile provides for programs, with our PID 1 and QEMU's devices: a disk, a network card,
//! randomness, a console and a balloon.

use std::ffi::OsString;
use std::fs::File;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::guest::Guest;
use super::judge;
use crate::base::files::read;
use crate::guest::capabilities::CAPABILITIES;
use crate::guest::payload::{self, pack};
use crate::guest::userland;

const BUSYBOX: &str = "/bin/busybox";

/// Each function checks a capability that needs a device. The host's side of the network echoes what it receives. The last
/// two commands wait until the log is complete on the serial console, since PID 1 then ends the machine.
const DEVICES: &str = r#"
disk() { mkdir -p /tmp/disk && mount /dev/vda /tmp/disk && dd if=/dev/urandom of=/tmp/disk/a bs=64k count=32 &&
    sum=$(md5sum < /tmp/disk/a) && umount /tmp/disk && mount /dev/vda /tmp/disk && [ "$(md5sum < /tmp/disk/a)" = "$sum" ] &&
    rm /tmp/disk/a && umount /tmp/disk; }
card() { [ "$(cat /sys/class/net/eth0/operstate)" != down ] && [ "$(echo hello | nc 10.0.2.100 7)" = hello ]; }
loopback() { ifconfig lo up && nc -l -p 80 -e cat & until grep -q :0050 /proc/net/tcp; do :; done
    [ "$(echo hello | nc 127.0.0.1 80)" = hello ]; }
randomness() { [ "$(dd if=/dev/hwrng bs=16 count=1 | wc -c)" = 16 ]; }
console() { echo hello > /dev/hvc0; }
all() { for one in procfs tmpfs overlayfs cgroup2 memory_max pids_max cpu_max disk card loopback randomness console; do
    try $one 2>/dev/null; done; }
all
/lab/peer capabilities
cat /proc/consoles > /dev/null # takes the console lock, so what is still to be printed is printed first
stty -F /dev/ttyS0 -echo 2>/dev/null # drains the UART
"#;

/// How many capabilities must work: twelve here and nine in the peer.
const WORKING: usize = 21;

/// Boots and tries everything. Returns the log and what is wrong.
pub(super) fn run(guest: &Guest<'_>) -> Result<(String, Vec<String>)> {
    let scratch = guest.cache.scratch()?;
    let disk = scratch.path().join("disk");
    File::create(&disk)
        .and_then(|file| file.set_len(32 << 20))
        .context("making a disk")?;
    let sh = Shell::new()?;
    cmd!(sh, "mkfs.ext4 -q {disk}").quiet().run()?;
    let script = format!("exec > /dev/kmsg 2>&1\n{CAPABILITIES}{DEVICES}");
    let mut archive = payload::base(&userland::init(guest.layout)?)?;
    let peer = read(&userland::peer(guest.layout)?)?;
    jiffy::payload::files(&[("lab/peer".to_owned(), peer)], &mut archive)
        .context("packing the peer")?;
    let words = ["sh", "-c", &script].map(OsString::from);
    archive.extend(pack(BUSYBOX.as_ref(), &words, 0)?);

    let drive = format!("if=none,id=disk,format=raw,file={}", disk.display());
    let devices = [
        "-drive",
        &drive,
        "-device",
        "virtio-blk-device,drive=disk",
        "-netdev",
        "user,id=net,guestfwd=tcp:10.0.2.100:7-cmd:cat",
        "-device",
        "virtio-net-device,netdev=net",
        "-device",
        "virtio-rng-device",
        "-device",
        "virtio-serial-device",
        "-chardev",
        "null,id=terminal",
        "-device",
        "virtconsole,chardev=terminal",
        "-device",
        "virtio-balloon-device,free-page-reporting=on",
    ]
    .map(OsString::from);
    let words = "ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off";
    let ended = guest.boot(scratch.path(), &archive, &devices, words, false)?;
    let mut wrong = judge::log(&ended.said);
    let working = ended
        .said
        .lines()
        .filter(|line| line.trim_end().ends_with("work") || line.trim_end().ends_with("works"))
        .filter(|line| !line.contains("not"))
        .count();
    if working != WORKING || ended.timed_out {
        wrong.push(format!(
            "smoke: {working} capabilities of {WORKING} work:\n{}",
            judge::tail(&ended.said)
        ));
    }
    Ok((ended.said, wrong))
}
