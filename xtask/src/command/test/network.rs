//! A guest's network in the lab: large transfers in both directions arrive intact, and the first program to use the network
//! finds it ready.

use anyhow::{Result, ensure};

use super::check::{Check, Context};
use super::command::Run;
use super::devices::lab;
use super::inside::{self, RUNNER};
use crate::guest::devices::InLab;

/// A stream of some 50 MB that guest and lab can both generate. Sent both ways, 100 MB cross the network card.
const STREAM: &str = "stream() { for copy in $(seq 26); do cat /bin/busybox; done; }";

/// The lab's side: one port sends the stream, the other receives it. Netcat's stdin never ends, because netcat would close
/// the connection's other direction at its end.
const LAB: &str = r#"mkfifo /tmp/open
stream | nc -l -p 5001 &
nc -l -p 5002 <>/tmp/open | crc32 > /tmp/up &
until grep -q :1389 /proc/net/tcp && grep -q :138A /proc/net/tcp; do :; done
$2 --net tap=tap0,ip=10.0.0.2/24,gw=10.0.0.1 -- /bin/busybox sh -c "$1" && wait && cat /tmp/up"#;

const GUEST: &str = r#"mkfifo /tmp/open
nc 10.0.0.1 5001 <>/tmp/open | crc32
stream | nc 10.0.0.1 5002"#;

/// First uses of the network by a program, each with a word that its output must contain.
const FIRST: [(&str, &str); 8] = [
    ("ip link show lo", "LOOPBACK"),
    ("unshare -n ip link", "LOOPBACK"),
    ("ifconfig lo up && ping -q -c 1 127.0.0.1", "received"),
    ("cat /proc/net/dev", "lo:"),
    ("ls /proc/sys", "net"),
    ("cat /proc/sys/net/ipv4/ip_forward", "0"),
    ("ls /sys/class", "net"),
    ("cat /sys/class/net/lo/mtu", "65536"),
];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("lab/devices/tcp", tcp),
        Check::new("lab/network for who asks first", first),
    ]
}

fn first(context: &Context<'_>) -> Result<()> {
    for (script, word) in FIRST {
        let ran = lab(context, &[], script)?.run(context)?;
        let seen = &ran.ended_with(0)?.stdout;
        let mut words = seen.split(|c: char| !(c.is_alphanumeric() || c == ':'));
        ensure!(words.any(|one| one == word), "{script}: {seen:?}");
    }
    Ok(())
}

fn tcp(context: &Context<'_>) -> Result<()> {
    let here = [
        "/bin/busybox",
        "sh",
        "-c",
        &format!("{STREAM}\nstream | crc32"),
    ];
    let expected = Run::program(&here).run(context)?;
    let sum = &expected.ended_with(0)?.stdout;
    ensure!(sum.len() == 9, "the stream's sum is {sum:?}");
    let (lab, guest) = (format!("{STREAM}\n{LAB}"), format!("{STREAM}\n{GUEST}"));
    let said = inside::shell(context, &InLab::default(), &lab, &[&guest, RUNNER])?;
    ensure!(said == format!("{sum}{sum}"), "{sum:?} arrived as {said:?}");
    Ok(())
}
