//! What a kernel tells, and how two kernels' differ: numbers that follow from how much memory is free within a share, all else
//! to the letter.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::difference::Difference;
use crate::command::test::guests::number;

/// What no two boots have alike: counters, times, random numbers, process IDs, addresses, names of builds. That it is there
/// is compared.
const BY_NATURE: [&str; 16] = [
    "/proc/sys/fs/aio-nr",
    "/proc/sys/fs/dentry-state",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/inode-state",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/pty/nr",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/random/uuid",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/cgroup.threads",
    "/sys/fs/cgroup/cpu.stat",
    "/sys/fs/cgroup/memory.stat",
    "/sys/kernel/notes",
    "/sys/kernel/vmcoreinfo",
];

/// What is sized by memory, of which a kernel of another size leaves a little more or less.
const SIZED: [&str; 16] = [
    "/proc/sys/fs/epoll/max_user_watches",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/inotify/max_user_watches",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/net/ipv4/inet_peer_threshold",
    "/proc/sys/net/ipv4/tcp_max_orphans",
    "/proc/sys/net/ipv4/tcp_mem",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_wmem",
    "/proc/sys/net/ipv4/udp_mem",
    "/proc/sys/user/",
    "/proc/sys/vm/admin_reserve_kbytes",
    "/proc/sys/vm/min_free_kbytes",
    "/proc/sys/vm/user_reserve_kbytes",
    "/proc/1/limits/",
    "/proc/self/limits/",
];

/// By how much those may differ beside the noise of memory itself.
const SHARE: f64 = 0.02;

/// By how many KiB counts of memory may: the holes of an image, files of sysfs that nobody has looked at, and what is allocated
/// for a moment.
const NOISE_KIB: f64 = 8192.0;

/// By which share of all memory they may, if that is more.
const NOISE_SHARE: f64 = 0.01;

/// A page's, in KiB.
const PAGE_KIB: f64 = 4.0;

/// A page block's.
const BLOCK_KIB: f64 = 2048.0;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Exact,
    /// Numbers within [`SHARE`] and the noise.
    Sized,
    /// A number of so many KiB each, within the noise.
    Memory(f64),
    /// Not.
    ByNature,
}

/// A file's mode and content, or one figure of a file.
#[derive(Debug, PartialEq)]
struct Value {
    mode: String,
    text: String,
    kind: Kind,
}

/// What a kernel told: by pass and path.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    values: BTreeMap<(String, String), Value>,
    total_kib: f64,
}

impl Snapshot {
    /// Reads what `guest snapshot` printed.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut snapshot = Self::default();
        for line in text.lines() {
            let parts: Vec<&str> = line.splitn(4, '\t').collect();
            let [pass, path, mode, value] = parts[..] else {
                anyhow::bail!("a snapshot has the line {line:?}");
            };
            snapshot.add(pass, path, mode, value)?;
        }
        ensure!(
            snapshot.total_kib > 0.0,
            "a snapshot without memory: {text:?}"
        );
        Ok(snapshot)
    }

    fn add(&mut self, pass: &str, path: &str, mode: &str, value: &str) -> Result<()> {
        let figures = match path {
            "sysinfo" => {
                let total = number(value, "total")?;
                self.total_kib = total;
                words(path, value, Kind::Memory(1.0))
            }
            "/proc/meminfo" => meminfo(path, value),
            "/proc/vmstat" => vmstat(path, value),
            "/proc/zoneinfo" => zoneinfo(path, value),
            "/proc/buddyinfo" => buddyinfo(path, value)?,
            "/proc/pagetypeinfo" => pagetypeinfo(path, value)?,
            _ if path.ends_with("/limits") => limits(path, value),
            _ => vec![(path.to_owned(), value.to_owned(), kind(path))],
        };
        for (path, text, kind) in figures {
            let mode = mode.to_owned();
            let value = Value { mode, text, kind };
            self.values.insert((pass.to_owned(), path), value);
        }
        Ok(())
    }

    /// What another kernel told otherwise, `memory` being what both had.
    pub(crate) fn differences(&self, other: &Self, memory: &str) -> Vec<Difference> {
        let mut keys: Vec<_> = self.values.keys().chain(other.values.keys()).collect();
        keys.sort();
        keys.dedup();
        let mut found = Vec::new();
        for key in keys {
            let (ours, theirs) = (self.values.get(key), other.values.get(key));
            let what = match (ours, theirs) {
                (Some(ours), Some(theirs)) => match self.differs(ours, theirs) {
                    Some(what) => what,
                    None => continue,
                },
                (Some(_), None) => "is there, and without the series is not".to_owned(),
                _ => "is not there, and without the series is".to_owned(),
            };
            let (pass, path) = key;
            let when = if pass == "1" {
                "at first"
            } else {
                "after a second"
            };
            found.push(Difference {
                path: path.clone(),
                what: format!("{memory}, {when}: {what}"),
            });
        }
        found
    }

    fn differs(&self, ours: &Value, theirs: &Value) -> Option<String> {
        if ours.mode != theirs.mode {
            return Some(format!("mode {} instead of {}", ours.mode, theirs.mode));
        }
        let same = match ours.kind {
            Kind::ByNature => true,
            Kind::Exact => ours.text == theirs.text,
            Kind::Sized => {
                let share = SHARE + NOISE_KIB / self.total_kib;
                close(&ours.text, &theirs.text, |one| one * share)
            }
            Kind::Memory(kib) => {
                let noise = NOISE_KIB.max(self.total_kib * NOISE_SHARE) / kib;
                close(&ours.text, &theirs.text, |_| noise)
            }
        };
        (!same).then(|| format!("{:?} instead of {:?}", ours.text, theirs.text))
    }
}

/// Whether two texts are the same but for numbers, and those as close as `noise` of the larger one says.
fn close(ours: &str, theirs: &str, noise: impl Fn(f64) -> f64) -> bool {
    let (ours, theirs) = (ours.split([' ', '|']), theirs.split([' ', '|']));
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(one, other)| {
            match (one.parse::<f64>(), other.parse::<f64>()) {
                (Ok(one), Ok(other)) => (one - other).abs() <= noise(one.max(other)),
                _ => *one == other,
            }
        })
}

type Figure = (String, String, Kind);

fn kind(path: &str) -> Kind {
    let is_of = |list: &[&str]| list.iter().any(|one| path.starts_with(one));
    if is_of(&BY_NATURE) {
        Kind::ByNature
    } else if is_of(&SIZED) {
        Kind::Sized
    } else {
        Kind::Exact
    }
}

/// `name number name number`.
fn words(path: &str, value: &str, kind: Kind) -> Vec<Figure> {
    let words: Vec<&str> = value.split(' ').collect();
    let pairs = words.chunks_exact(2);
    pairs
        .map(|pair| (format!("{path}/{}", pair[0]), pair[1].to_owned(), kind))
        .collect()
}

/// `Name:  number kB`.
fn meminfo(path: &str, value: &str) -> Vec<Figure> {
    let lines = value.split('|').filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, number)| {
            let number = number.trim();
            let kind = match number.strip_suffix(" kB") {
                Some(_) => Kind::Memory(1.0),
                None => Kind::Exact,
            };
            let number = number.trim_end_matches(" kB");
            (format!("{path}/{name}"), number.to_owned(), kind)
        })
        .collect()
}

/// `name number`; those of events are counters.
fn vmstat(path: &str, value: &str) -> Vec<Figure> {
    let lines = value.split('|').filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, number)| {
            let kind = if name.starts_with("nr_") {
                Kind::Memory(PAGE_KIB)
            } else {
                Kind::ByNature
            };
            (format!("{path}/{name}"), number.to_owned(), kind)
        })
        .collect()
}

/// Figures of all zones together, since which zones there are is a matter of configuration: their sums, but for the largest
/// of what a processor sets aside.
#[derive(Default)]
struct Zones(BTreeMap<String, (f64, Kind)>);

impl Zones {
    fn add(&mut self, name: &str, number: f64, kind: Kind) {
        let (sum, _) = self.0.entry(name.to_owned()).or_insert((0.0, kind));
        *sum = if name.ends_with(':') {
            sum.max(number)
        } else {
            *sum + number
        };
    }

    fn figures(self, path: &str) -> Vec<Figure> {
        let figures = self.0.into_iter();
        figures
            .map(|(name, (number, kind))| (format!("{path}/{name}"), number.to_string(), kind))
            .collect()
    }
}

/// Lines of a name and a number below `Node 0, zone Name`; pages, but for what sets their bounds.
fn zoneinfo(path: &str, value: &str) -> Vec<Figure> {
    const BOUNDS: [&str; 8] = [
        "boost",
        "min",
        "low",
        "high",
        "promo",
        "high_min:",
        "high_max:",
        "batch:",
    ];
    let mut zones = Zones::default();
    for line in value.split('|') {
        let line = line.trim().trim_start_matches("pages ");
        let Some((name, number)) = line.split_once(' ') else {
            continue;
        };
        let kind = match name {
            "start_pfn:" | "present" | "spanned" | "count:" | "high:" => continue,
            _ if BOUNDS.contains(&name) => Kind::Sized,
            _ => Kind::Memory(PAGE_KIB),
        };
        if let Ok(number) = number.trim().parse() {
            zones.add(name, number, kind);
        }
    }
    zones.figures(path)
}

/// The pages of a line of free blocks by order.
fn by_order(numbers: &str) -> Result<f64> {
    let mut pages = 0.0;
    for (order, count) in numbers.split_whitespace().enumerate() {
        // Many blocks are told as more than so many.
        let count = count.trim_start_matches('>');
        let count: f64 = count
            .parse()
            .with_context(|| format!("blocks {numbers:?}"))?;
        pages += count * f64::from(1_u32 << order);
    }
    Ok(pages)
}

/// `Node 0, zone Name  blocks of each order`.
fn buddyinfo(path: &str, value: &str) -> Result<Vec<Figure>> {
    let mut zones = Zones::default();
    for (_, numbers) in zone_lines(value) {
        zones.add("free", by_order(numbers)?, Kind::Memory(PAGE_KIB));
    }
    Ok(zones.figures(path))
}

/// The zone of each line that is a zone's, and what follows.
fn zone_lines(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = value.split('|').filter(|line| line.starts_with("Node"));
    lines.filter_map(|line| line.split_once("zone")?.1.trim().split_once([' ', ',']))
}

/// Free pages by order for each type, then page blocks of each type.
fn pagetypeinfo(path: &str, value: &str) -> Result<Vec<Figure>> {
    let types = value
        .split('|')
        .find_map(|line| line.strip_prefix("Number of blocks type"));
    let types: Vec<&str> = types.unwrap_or_default().split_whitespace().collect();
    let mut zones = Zones::default();
    for (_, rest) in zone_lines(value) {
        if let Some(rest) = rest.trim().strip_prefix("type") {
            let (kind, numbers) = rest.trim().split_once(' ').context("a type of no blocks")?;
            let name = format!("free {kind}");
            zones.add(&name, by_order(numbers)?, Kind::Memory(PAGE_KIB));
        } else {
            for (kind, blocks) in types.iter().zip(rest.split_whitespace()) {
                let name = format!("blocks {kind}");
                zones.add(&name, blocks.parse()?, Kind::Memory(BLOCK_KIB));
            }
        }
    }
    Ok(zones.figures(path))
}

/// Columns, of which the first is a name.
fn limits(path: &str, value: &str) -> Vec<Figure> {
    const NAME: usize = 26;
    let lines = value
        .split('|')
        .filter_map(|line| line.split_at_checked(NAME));
    lines
        .map(|(name, rest)| {
            let path = format!("{path}/{}", name.trim());
            let rest: Vec<&str> = rest.split_whitespace().collect();
            let kind = kind(&path);
            (path, rest.join(" "), kind)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1\tsysinfo\t0\ttotal 100000 free 90000
1\t/proc/meminfo\t444\tMemTotal:  100000 kB|MemFree:  90000 kB|HugePages_Total:   0|
1\t/proc/zoneinfo\t444\tNode 0, zone   Normal|  pages free     22500|        min      300|
1\t/proc/buddyinfo\t444\tNode 0, zone   Normal   0   0   1   5 |
1\t/proc/pagetypeinfo\t444\tPage block order: 9||Number of blocks type     Unmovable      Movable |Node 0, zone   Normal            2           40 |
1\t/proc/self/limits\t444\tMax processes             1000                 1000                 processes |
1\t/proc/sys/fs/file-max\t100644\t9000|
1\t/proc/sys/fs/nr_open\t100644\t1000|
1\t/proc/sys/kernel/random/uuid\t100444\tabc|
";

    fn differing(other: &str) -> Vec<String> {
        let [one, other] = [ONE, other].map(|text| Snapshot::parse(text).unwrap());
        let differences = other.differences(&one, "1M");
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn noise_is_no_difference() {
        let other = ONE
            .replace("MemFree:  90000", "MemFree:  98000")
            .replace("min      300", "min      303")
            .replace("1   5", "200   5")
            .replace("9000|", "9100|")
            .replace("abc", "def");
        assert_eq!(differing(&other), [""; 0]);
    }

    #[test]
    fn what_is_more_than_noise_is_named() {
        let other = ONE
            .replace("MemFree:  90000", "MemFree:  24")
            .replace("free     22500", "free     6")
            .replace("          2           40", "          38           4")
            .replace(
                "Max processes             1000",
                "Max processes             60",
            )
            .replace("100644\t9000|", "100644\t4096|")
            .replace("100644\t1000|", "100600\t1000|")
            .replace("1\t/proc/sys/kernel/random/uuid\t100444\tabc|\n", "");
        expect_test::expect![[r#"
            [
                "/proc/meminfo/MemFree: 1M, at first: \"24\" instead of \"90000\"",
                "/proc/pagetypeinfo/blocks Movable: 1M, at first: \"4\" instead of \"40\"",
                "/proc/pagetypeinfo/blocks Unmovable: 1M, at first: \"38\" instead of \"2\"",
                "/proc/self/limits/Max processes: 1M, at first: \"60 1000 processes\" instead of \"1000 1000 processes\"",
                "/proc/sys/fs/file-max: 1M, at first: \"4096|\" instead of \"9000|\"",
                "/proc/sys/fs/nr_open: 1M, at first: mode 100600 instead of 100644",
                "/proc/sys/kernel/random/uuid: 1M, at first: is not there, and without the series is",
                "/proc/zoneinfo/free: 1M, at first: \"6\" instead of \"22500\"",
            ]
        "#]]
        .assert_debug_eq(&differing(&other));
    }
}
