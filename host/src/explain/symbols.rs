//! The symbols of a vmlinux, read only when something has to be explained.

use crate::layout::KERNEL_MAP;
use crate::memory::GuestMemory;
use crate::trace::kallsyms::{self, Symbol};
use object::{Object, ObjectSymbol, SymbolKind};
use std::collections::HashMap;

/// The symbols that have a name, and no more than `limit` bytes of names: in a damaged table each name may reach to the
/// end of the file, so the file's length bounds their sum.
pub(crate) fn named<'data, 'file>(
    file: &'file object::File<'data>,
    mut limit: usize,
) -> impl Iterator<Item = (object::Symbol<'data, 'file>, &'data str)> {
    file.symbols()
        .map_while(move |symbol| {
            let name = symbol.name_bytes().ok()?;
            limit = limit.checked_sub(name.len())?;
            Some((symbol, name))
        })
        .filter_map(|(symbol, name)| Some((symbol, str::from_utf8(name).ok()?)))
}

/// Functions by address, and all symbols by name.
#[derive(Debug, Default)]
pub struct Symbols {
    functions: Vec<(u64, String)>,
    names: HashMap<String, u64>,
}

impl Symbols {
    /// Reads the symbol table of an image, or what a kernel without one keeps for itself (kallsyms).
    #[must_use]
    pub fn parse(image: &[u8]) -> Self {
        let Ok(file) = object::File::parse(image) else {
            return Self::default();
        };
        let mut symbols = Self::default();
        for (symbol, name) in named(&file, image.len()) {
            if symbol.is_undefined() || name.is_empty() {
                continue;
            }
            // Entry points in assembly have no type.
            if matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown) {
                symbols.functions.push((symbol.address(), name.to_owned()));
            }
            symbols.names.insert(name.to_owned(), symbol.address());
        }
        if symbols.names.is_empty() {
            symbols.add_own(image);
        }
        symbols.functions.sort();
        symbols
    }

    /// Adds those that the kernel keeps for itself, of which the kind is not known.
    fn add_own(&mut self, image: &[u8]) {
        for Symbol { address, name } in kallsyms::decode(image).unwrap_or_default() {
            self.functions.push((address, name.clone()));
            self.names.insert(name, address);
        }
    }

    /// Symbols of these names.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn of<const N: usize>(names: [(&str, u64); N]) -> Self {
        Symbols {
            names: names
                .map(|(name, address)| (name.to_owned(), address))
                .into(),
            ..Self::default()
        }
    }

    /// The address of a symbol.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    /// `function+0x12` for a code address.
    #[must_use]
    pub fn describe(&self, address: u64) -> Option<String> {
        let after = self
            .functions
            .partition_point(|(start, _)| *start <= address);
        let (start, name) = self.functions.get(after.checked_sub(1)?)?;
        Some(format!("{name}+{:#x}", address - start))
    }

    /// CR3 to read the kernel's memory by: the vCPU's, or that of the kernel's own tables where KVM has reset the vCPU.
    #[must_use]
    pub fn page_tables(&self, cr3: u64) -> u64 {
        match cr3 {
            0 => self
                .address("init_top_pgt")
                .and_then(|address| address.checked_sub(KERNEL_MAP))
                .unwrap_or(0),
            cr3 => cr3,
        }
    }

    /// Reads memory of the kernel's image at a symbol.
    #[must_use]
    pub fn read<const N: usize>(&self, memory: &GuestMemory, name: &str) -> Option<[u8; N]> {
        let gpa = self.address(name)?.checked_sub(KERNEL_MAP)?;
        let mut bytes = [0; N];
        memory.read(gpa, &mut bytes).ok()?;
        Some(bytes)
    }
}
