//! Compares the output of two kernels: numbers that depend on free memory within a tolerance, everything else exactly.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::difference::Difference;
use super::figures::{Kind, figures};
use crate::command::test::guests::number;

/// How much values computed from memory may differ in addition to the noise, as a share.
const SHARE: f64 = 0.02;

/// How many KiB counts of memory may differ: by holes in the image, sysfs files that nobody has looked at yet, and short-lived
/// allocations.
const NOISE_KIB: f64 = 8192.0;

/// The same as a share of all memory, if that is more.
const NOISE_SHARE: f64 = 0.01;

/// A file's mode and content, or one figure of a file.
#[derive(Debug, PartialEq)]
struct Value {
    mode: String,
    text: String,
    kind: Kind,
}

/// A kernel's files, by pass and path.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    values: BTreeMap<(String, String), Value>,
    total_kib: f64,
}

impl Snapshot {
    /// Parses the output of `guest snapshot`.
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
        if path == "sysinfo" {
            self.total_kib = number(value, "total")?;
        }
        for (path, text, kind) in figures(path, value)? {
            let mode = mode.to_owned();
            let value = Value { mode, text, kind };
            self.values.insert((pass.to_owned(), path), value);
        }
        Ok(())
    }

    /// The differences from another kernel's snapshot, taken with the same `memory`.
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
                (Some(_), None) => "exists, but does not without the series".to_owned(),
                _ => "does not exist, but does without the series".to_owned(),
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

/// Whether two texts differ only in numbers, and each pair of numbers by at most `noise` of the larger one.
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
                "/proc/sys/kernel/random/uuid: 1M, at first: does not exist, but does without the series",
                "/proc/zoneinfo/free: 1M, at first: \"6\" instead of \"22500\"",
            ]
        "#]]
        .assert_debug_eq(&differing(&other));
    }
}
