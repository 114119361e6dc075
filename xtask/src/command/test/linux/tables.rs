//! Tables of functions in the kernel's image, which it calls one after the other: each entry is a function.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::compiled::patched;
use crate::base::cache::Cache;
use crate::command::test::check::{Check, Context};
use crate::command::test::guests;

/// Prefixes of the symbols at a table's start and end.
const ENDS: [&str; 2] = ["__start_", "__stop_"];

/// The part of the linker script that all architectures share.
const SCRIPT: &str = "include/asm-generic/vmlinux.lds.h";

/// Suffix of the names of the function tables that the series adds.
const TABLES: &str = "_initcalls";

/// Size of an entry, in bytes.
const SIZE: u64 = 8;

/// The rows.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![Check::new("linux/tables of any kernel", aligned)];
    checks.extend(["min", "default", "smp"].map(|profile| {
        Check::new(format!("linux/tables of {profile}"), move |context| {
            tables(context, profile)
        })
    }));
    checks
}

/// What precedes a table depends on the configuration and may end at any address, so the linker script must align the table.
fn aligned(context: &Context<'_>) -> Result<()> {
    let tree = patched(context, &Cache::open()?)?;
    let script = tree.path().join(SCRIPT);
    let text =
        fs::read_to_string(&script).with_context(|| format!("reading {}", script.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut found = 0;
    for (at, line) in lines.iter().enumerate() {
        if !line.contains("BOUNDED_SECTION(") || !line.contains(TABLES) {
            continue;
        }
        let before = at.checked_sub(1).map_or("", |before| lines[before]);
        ensure!(
            before.contains("ALIGN(8)"),
            "{SCRIPT}:{}: nothing aligns {}",
            at + 1,
            line.trim()
        );
        found += 1;
    }
    ensure!(found > 0, "there is no table in {SCRIPT}");
    Ok(())
}

fn tables(context: &Context<'_>, profile: &str) -> Result<()> {
    let image = crate::base::files::read(&guests::vmlinux(context, profile)?)?;
    let found = check(&image)?;
    ensure!(found > 0, "there is no table");
    Ok(())
}

/// Checks each table, and returns how many there are.
fn check(image: &[u8]) -> Result<usize> {
    let file = object::File::parse(image).context("reading the kernel")?;
    let symbols = || file.symbols();
    let functions: BTreeSet<u64> = symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .map(|symbol| symbol.address())
        .collect();
    let ends: BTreeMap<&str, u64> = symbols()
        .filter_map(|symbol| Some((symbol.name().ok()?, symbol.address())))
        .filter(|(name, _)| name.ends_with(TABLES))
        .collect();
    let mut found = 0;
    for (name, &start) in &ends {
        let Some(table) = name.strip_prefix(ENDS[0]) else {
            continue;
        };
        let stop = format!("{}{table}", ENDS[1]);
        let stop = *ends.get(stop.as_str()).context("a table without an end")?;
        ensure!(
            start % SIZE == 0 && stop % SIZE == 0,
            "{table}, from {start:#x} to {stop:#x}, is not aligned"
        );
        for entry in 0..stop.saturating_sub(start) / SIZE {
            let at = start + entry * SIZE;
            let entry = word(&file, at).with_context(|| format!("{table} is in no section"))?;
            ensure!(
                functions.contains(&entry),
                "the entry of {table} at {at:#x} is {entry:#x}, which is not a function"
            );
        }
        found += 1;
    }
    Ok(found)
}

fn word(file: &object::File<'_>, address: u64) -> Option<u64> {
    let bytes = file
        .sections()
        .find_map(|section| section.data_range(address, SIZE).ok()?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}
