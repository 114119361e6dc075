//! The variants to measure: one without each topic of the series, one without each patch, and those in
//! kernel-patches/ablation.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use jiffy::boot::Pages;
use serde::Deserialize;

use super::variant::{Group, Variant};
use crate::base::failure::usage;
use crate::kernel::series::{Companions, Series};

/// The file that describes variants, below kernel-patches.
pub(super) const FILE: &str = "ablation.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Each topic's name, its first patch and its last.
    #[serde(default)]
    topics: BTreeMap<String, [String; 2]>,
    /// For a patch that others do not compile without: those others.
    #[serde(default)]
    with: Companions,
    #[serde(default)]
    trick: Vec<Variant>,
}

/// All variants to measure.
pub(super) struct Plan {
    /// In the order in which they are measured.
    pub(super) variants: Vec<Variant>,
    /// Which patches go together.
    pub(super) companions: Companions,
}

impl Plan {
    /// The topics of the series in its order, its patches, then the variants in the file.
    pub(super) fn read(dir: &Path, series: &Series) -> Result<Self> {
        let path = dir.join(FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text, series).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str, series: &Series) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let topics = topics(&file.topics, series)?;
        let patches = series.patches().iter().map(|patch| {
            let number = patch.number();
            let without = BTreeSet::from([number.to_owned()]);
            Variant::of_patches(number, patch.subject.clone(), without, Group::Patches)
        });
        let numbers: BTreeSet<&str> = series.patches().iter().map(|it| it.number()).collect();
        let named = file
            .with
            .iter()
            .flat_map(|(one, more)| more.iter().chain([one]));
        let tricks = file.trick.iter().flat_map(|trick| &trick.without);
        for number in named.chain(tricks) {
            ensure!(
                numbers.contains(number.as_str()),
                "the series has no patch {number}"
            );
        }
        let mut names = BTreeSet::new();
        let variants: Vec<Variant> = topics
            .into_iter()
            .chain(patches)
            .chain(file.trick)
            .collect();
        for variant in &variants {
            variant.memory_mib()?;
            if let Some(text) = &variant.pages {
                text.parse::<Pages>()
                    .map_err(|error| usage(format!("pages: {error}")))?;
            }
            ensure!(
                names.insert(&variant.name),
                "two variants are named {}",
                variant.name
            );
        }
        Ok(Self {
            companions: file.with,
            variants,
        })
    }

    /// Keeps only these, named by themselves or by their group, if there are any.
    pub(super) fn select(&mut self, only: &[String]) -> Result<()> {
        let is = |one: &Variant, name: &str| one.name == name || one.group.name() == name;
        let known = |name: &&String| self.variants.iter().any(|one| is(one, name));
        if let Some(unknown) = only.iter().find(|name| !known(name)) {
            let groups = Group::ALL.map(Group::name).into_iter();
            let names = self.variants.iter().map(|one| one.name.as_str());
            let names: Vec<_> = groups.chain(names).collect();
            return Err(usage(format!(
                "--only {unknown}: there are {}",
                names.join(", ")
            )));
        }
        if !only.is_empty() {
            self.variants
                .retain(|one| only.iter().any(|name| is(one, name)));
        }
        Ok(())
    }
}

/// A variant for each topic, in the order of their patches. Every patch is in one.
fn topics(named: &BTreeMap<String, [String; 2]>, series: &Series) -> Result<Vec<Variant>> {
    let mut variants = Vec::new();
    let mut left: BTreeSet<&str> = series.patches().iter().map(|it| it.number()).collect();
    for (name, [first, last]) in named {
        let of: BTreeSet<&str> = left
            .iter()
            .copied()
            .filter(|number| (first.as_str()..=last.as_str()).contains(number))
            .collect();
        ensure!(
            of.contains(first.as_str()) && of.contains(last.as_str()),
            "topic {name}: {first} and {last} must be in the series, and in no other topic"
        );
        let what = format!("{first} to {last}");
        let without = of.iter().map(|&number| number.to_owned()).collect();
        left.retain(|number| !of.contains(number));
        variants.push(Variant::of_patches(name, what, without, Group::Topics));
    }
    ensure!(
        named.is_empty() || left.is_empty(),
        "these patches are in no topic: {left:?}"
    );
    variants.sort_by(|one, other| one.without.cmp(&other.without));
    Ok(variants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        let dir = tempfile::tempdir().unwrap();
        for number in ["0001", "0002"] {
            let text = format!(
                "Subject: [PATCH] mm: {number}\n\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
            );
            fs::write(dir.path().join(format!("{number}-mm.patch")), text).unwrap();
        }
        Series::read(dir.path()).unwrap()
    }

    const TOML: &str = "[topics]\nmm = ['0001', '0002']\n[with]\n0001 = ['0002']\n[[trick]]\nname = 'os'\nwhat = 'small'\nconfig = 'CONFIG_A=y'\n";

    #[test]
    fn topics_come_first_and_some_can_be_chosen() {
        let mut plan = Plan::parse(TOML, &series()).unwrap();
        let names = |plan: &Plan| -> Vec<String> {
            plan.variants.iter().map(|one| one.name.clone()).collect()
        };
        assert_eq!(names(&plan), ["mm", "0001", "0002", "os"]);
        assert_eq!(plan.variants[0].without.len(), 2);
        assert_eq!(plan.variants[2].what, "mm: 0002");
        assert!(plan.select(&["0003".to_owned()]).is_err());
        plan.select(&["os".to_owned(), "topics".to_owned()])
            .unwrap();
        assert_eq!(names(&plan), ["mm", "os"]);
    }

    #[test]
    fn what_is_not_there_or_there_twice_is_refused() {
        for wrong in [
            "[topics]\nmm = ['0001', '0001']\n",
            "[topics]\nmm = ['0001', '0003']\n",
            "[topics]\na = ['0001', '0002']\nb = ['0002', '0002']\n",
            "[with]\n0001 = ['0009']\n",
            "[[trick]]\nname = '0001'\nwhat = ''\n",
            "[[trick]]\nname = 'a'\nwhat = ''\nwithout = ['0007']\n",
            "[[trick]]\nname = 'a'\nwhat = ''\nmemory = 'much'\n",
            "[[trick]]\nname = 'a'\nwhat = ''\nconfigs = ''\n",
        ] {
            assert!(Plan::parse(wrong, &series()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_file_fits_the_series() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-patches");
        let series = Series::read(&root.join("series/6.12")).unwrap();
        Plan::read(&root, &series).unwrap();
    }
}
