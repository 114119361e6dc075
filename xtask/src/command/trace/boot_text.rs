//! Lists the functions that a boot needs, for X86_SPLIT_TEXT: those that run, according to QEMU's log in the lab, and those in
//! which the kernel patches instructions or constants when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Lines of QEMU's log where the guest of the emulated machine is entered, and left.
const ENTRY: &str = "vmrun!";
const EXIT: &str = "vmexit(";

/// Tables of places that the kernel writes to, by the beginnings of their sections' names, and the lengths of their
/// entries: each begins with a place, as a 32-bit distance from itself. `struct alt_instr`
/// (arch/x86/include/asm/alternative.h), and arch/x86/include/asm/runtime-const.h.
const TABLES: [(&str, usize); 2] = [(".altinstructions", 14), ("runtime_", 4)];

/// The text that stays, in one section or two; what the kernel frees has another name.
const TEXT: &str = ".text";

/// The names of functions by their addresses; a function may have several.
#[derive(Default)]
struct Functions(BTreeMap<u64, Vec<String>>);

impl Functions {
    fn of(file: &object::File<'_>) -> Self {
        let mut functions = Self::default();
        for symbol in file.symbols() {
            let section = symbol.section_index().map(|at| file.section_by_index(at));
            if symbol.kind() == SymbolKind::Text
                && let Some(Ok(section)) = section
                && section.name().is_ok_and(|name| name.starts_with(TEXT))
                && let Ok(name) = symbol.name()
            {
                let names = functions.0.entry(symbol.address()).or_default();
                names.push(name.to_owned());
            }
        }
        functions
    }

    /// The names of the function that an address is in.
    fn at(&self, address: u64) -> &[String] {
        let before = self.0.range(..=address).next_back();
        before.map_or(&[], |(_, names)| names)
    }
}

/// Lists them, one name per line, from a kernel and QEMU's log of the code translated while it booted in the lab.
pub(super) fn list(kernel: &Path, log: &Path) -> Result<String> {
    let bytes = fs::read(kernel).with_context(|| format!("reading {}", kernel.display()))?;
    let file =
        object::File::parse(&*bytes).with_context(|| format!("reading {}", kernel.display()))?;
    let functions = Functions::of(&file);
    let log = File::open(log).context("QEMU left no log")?;
    let mut names = BTreeSet::new();
    for address in executed(BufReader::new(log))?
        .into_iter()
        .chain(replaced(&file)?)
    {
        names.extend(functions.at(address));
    }
    Ok(names.into_iter().map(|name| format!("{name}\n")).collect())
}

/// The addresses of instructions that the guest ran.
fn executed(log: impl BufRead) -> Result<BTreeSet<u64>> {
    let mut guest = false;
    let mut addresses = BTreeSet::new();
    for line in log.split(b'\n') {
        let line = line.context("reading QEMU's log")?;
        let line = String::from_utf8_lossy(&line);
        if line.starts_with(ENTRY) {
            guest = true;
        } else if line.starts_with(EXIT) {
            guest = false;
        } else if guest
            && let Some(hex) = line.strip_prefix("0x")
            && let Some((hex, _)) = hex.split_once(':')
            && let Ok(address) = u64::from_str_radix(hex, 16)
        {
            addresses.insert(address);
        }
    }
    Ok(addresses)
}

/// The addresses of instructions that the kernel patches.
fn replaced(file: &object::File<'_>) -> Result<Vec<u64>> {
    let mut places = Vec::new();
    for section in file.sections() {
        let name = section.name().context("reading a section's name")?;
        let Some((_, len)) = TABLES.iter().find(|(table, _)| name.starts_with(table)) else {
            continue;
        };
        let entries = section.data().with_context(|| format!("reading {name}"))?;
        let entries = (section.address()..)
            .step_by(*len)
            .zip(entries.chunks_exact(*len));
        places.extend(entries.filter_map(|(at, entry)| {
            let distance = i32::from_le_bytes(*entry.first_chunk()?);
            Some(at.wrapping_add_signed(distance.into()))
        }));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guest_of_the_lab_counts() {
        let log = "IN: host\n0xffffffff80200000:  90  nop\nvmrun! 0000000001\n----------------\nIN: \n\
                   0xffffffff80300010: unable to read memory\nvmexit(00000060, 0)!\n0xffffffff80200004:  c3  ret\n\
                   vmrun! 01\n0x00000000004016dd:  0f 0b  ud2\n";
        let ran = executed(log.as_bytes()).unwrap();
        assert_eq!(
            ran.into_iter().collect::<Vec<_>>(),
            [0x40_16dd, 0xffff_ffff_8030_0010]
        );
    }

    #[test]
    fn a_function_has_all_its_names() {
        let mut functions = Functions::default();
        functions
            .0
            .insert(16, vec!["one".to_owned(), "alias".to_owned()]);
        functions.0.insert(32, vec!["two".to_owned()]);
        assert_eq!(functions.at(31), ["one", "alias"]);
        assert_eq!(functions.at(u64::MAX), ["two"]);
        assert!(functions.at(15).is_empty());
    }
}
