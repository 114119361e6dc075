//! The symbols of a vmlinux, read only when something has to be explained.

use crate::memory::GuestMemory;
use object::{Object, ObjectSymbol, SymbolKind};
use std::collections::HashMap;
use std::path::Path;

/// Where the kernel's image is mapped (`__START_KERNEL_map` in arch/x86/include/asm/page_64_types.h): a vmlinux
/// that is entered directly runs at its link address, so the offset from here is the physical address.
const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

/// The symbols that have a name. In a damaged table all names may be one, up to the file's end: their sum is bounded
/// by the file's length.
pub(crate) fn named<'data, 'file>(
    file: &'file object::File<'data>,
    mut room: usize,
) -> impl Iterator<Item = (object::Symbol<'data, 'file>, &'data str)> {
    file.symbols()
        .map_while(move |symbol| {
            let name = symbol.name_bytes().ok()?;
            room = room.checked_sub(name.len())?;
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
    /// Reads the symbol table; empty for a file without one, or one that cannot be read.
    #[must_use]
    pub fn load(vmlinux: &Path) -> Self {
        Self::parse(&std::fs::read(vmlinux).unwrap_or_default())
    }

    /// Reads the symbol table of an image; empty for one without.
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
        symbols.functions.sort();
        symbols
    }

    /// Symbols of these names.
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

    /// The page tables to read the kernel's memory by: those in use, or, when KVM has reset the vCPU, the kernel's own.
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
