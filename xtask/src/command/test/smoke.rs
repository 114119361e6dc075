//! Everything that profile `default` offers programs, in one boot in the lab. What needs a device has its own rows:
//! `lab/devices/disks and network` (virtio block, ext4, randomness), `lab/devices/vsock`, `lab/devices/console` (hvc0).

use anyhow::{Result, ensure};

use super::check::{Check, Context};
use super::inside::{self, RUNNER};
use crate::guest::capabilities::CAPABILITIES;
use crate::guest::devices::InLab;

/// The capabilities that need a shell or the lab's network, then the peer's. It tells the lab when to connect.
const GUEST: &str = r#"sysfs() { [ "$(cat /sys/class/net/eth0/operstate)" != down ]; }
tcp() { nc -l -p 80 -e /bin/busybox sh -c 'read line; echo "the guest heard $line"' &
    until grep -q :0050 /proc/net/tcp; do [ -e /proc/$!/exe ] || return 1; done
    echo listening; wait $!; }
for one in procfs sysfs tmpfs overlayfs cgroup2 memory_max pids_max cpu_max tcp; do try $one 2>/dev/null; done
exec /lab/peer capabilities"#;

/// The lab's side: gives the guest the peer, and connects when the guest listens.
const LAB: &str = r#"cd / && printf 'lab\nlab/peer\n' | cpio -o -H newc > /tmp/peer.cpio 2>/dev/null
mkfifo /tmp/said
$2 --initrd /tmp/peer.cpio --net tap=tap0,ip=10.0.0.2/24,gw=10.0.0.1 -- /bin/busybox sh -c "$1" > /tmp/said &
while read line; do
    echo "$line"
    if [ "$line" = listening ]; then
        ping -q -c 1 10.0.0.2 | grep received
        echo "the lab" | nc 10.0.0.2 80
    fi
done < /tmp/said
wait $!
echo "status $?""#;

/// The output when everything works.
const SAID: [&str; 21] = [
    "procfs works",
    "sysfs works",
    "tmpfs works",
    "overlayfs works",
    "cgroup2 works",
    "memory_max works",
    "pids_max works",
    "cpu_max works",
    "1 packets transmitted, 1 packets received, 0% packet loss",
    "the guest heard the lab",
    "tcp works",
    "unix streams work",
    "unix datagrams work",
    "descriptors over a socket work",
    "eventfd works",
    "epoll works",
    "futex works",
    "signalfd works",
    "timerfd works",
    "pty works",
    "status 0",
];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("lab/default/smoke", smoke)]
}

fn smoke(context: &Context<'_>) -> Result<()> {
    let guest = format!("{CAPABILITIES}{GUEST}");
    let said = inside::shell(context, &InLab::default(), LAB, &[&guest, RUNNER])?;
    let missing = SAID.map(|line| (line, said.lines().any(|one| one == line)));
    let missing: Vec<&str> = missing
        .iter()
        .filter_map(|(line, there)| (!there).then_some(*line))
        .collect();
    ensure!(missing.is_empty(), "no {missing:?} in:\n{said}");
    Ok(())
}
