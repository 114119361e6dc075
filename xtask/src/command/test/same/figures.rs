//! The figures in /proc, by how they are compared: counts of memory, values that follow from its size, and values that differ
//! in every boot.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// Files that differ in every boot: counters, times, random numbers, process IDs, addresses, names of builds. Only their
/// presence is compared.
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

/// Values computed from free memory, which differs a little between kernels of different sizes.
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

/// Size of a page, in KiB.
const PAGE_KIB: f64 = 4.0;

/// Size of a page block, in KiB.
const BLOCK_KIB: f64 = 2048.0;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Exact,
    /// Numbers within a share and the noise.
    Sized,
    /// A number of units of this many KiB, within the noise.
    Memory(f64),
    /// Not compared.
    ByNature,
}

/// A path, with the figure's name appended if the file has several; the value; and how it is compared.
pub(super) type Figure = (String, String, Kind);

/// The figures of a file.
pub(super) fn figures(path: &str, value: &str) -> Result<Vec<Figure>> {
    Ok(match path {
        "sysinfo" => words(path, value, Kind::Memory(1.0)),
        "/proc/meminfo" => meminfo(path, value),
        "/proc/vmstat" => vmstat(path, value),
        "/proc/zoneinfo" => zoneinfo(path, value),
        "/proc/buddyinfo" => buddyinfo(path, value)?,
        "/proc/pagetypeinfo" => pagetypeinfo(path, value)?,
        _ if path.ends_with("/limits") => limits(path, value),
        _ => vec![(path.to_owned(), value.to_owned(), kind(path))],
    })
}

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

/// Lines of `name number`: all but those of `nr_` count events.
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

/// Figures of all zones together, since the configuration decides which zones there are: their sums, but the largest of per-CPU
/// figures.
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

/// Lines of `name number` below `Node 0, zone Name`: numbers of pages, and watermarks.
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

/// The number of pages in a line of free blocks by order.
fn by_order(numbers: &str) -> Result<f64> {
    let mut pages = 0.0;
    for (order, count) in numbers.split_whitespace().enumerate() {
        // The kernel caps large counts of blocks, as `>` and a number.
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

/// For each line about a zone, its name and the rest of the line.
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
            let (kind, numbers) = rest
                .trim()
                .split_once(' ')
                .context("a type without blocks")?;
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

/// Columns; the first is the name.
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
