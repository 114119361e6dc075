//! Adds a symbol table to an ELF file, so that readers of symbols need not know where they came from.

use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, FileHeader64, SHF_EXECINSTR, SHN_ABS, SHT_STRTAB, SHT_SYMTAB,
    STB_GLOBAL, STT_FUNC, STT_OBJECT, SectionHeader64, Sym64, SymbolSection,
};
use object::pod::{bytes_of, from_bytes, slice_from_bytes};
use object::{LittleEndian, U16, U32, U64};

use jiffy::trace::kallsyms::Symbol;

type Header = FileHeader64<LittleEndian>;
type Section = SectionHeader64<LittleEndian>;

const E: LittleEndian = LittleEndian;

/// Whether the file has a symbol table; `None` for one whose section headers cannot be read.
pub(crate) fn has_symbols(file: &[u8]) -> Option<bool> {
    let (_, sections) = parse(file)?;
    Some(
        sections
            .iter()
            .any(|section| section.sh_type.get(E) == SHT_SYMTAB),
    )
}

fn parse(file: &[u8]) -> Option<(&Header, &[Section])> {
    let (header, _) = from_bytes::<Header>(file).ok()?;
    let ident = &header.e_ident;
    if (ident.magic, ident.class, ident.data) != (ELFMAG, ELFCLASS64, ELFDATA2LSB) {
        return None;
    }
    let at = usize::try_from(header.e_shoff.get(E)).ok()?;
    let count = usize::from(header.e_shnum.get(E));
    let (sections, _) = slice_from_bytes::<Section>(file.get(at..)?, count).ok()?;
    Some((header, sections))
}

/// The file with these symbols; `None` if its section headers cannot be read.
///
/// Everything is appended, including the section headers, so the offsets of segments do not change.
pub(crate) fn with_symbols(file: &[u8], symbols: &[Symbol]) -> Option<Vec<u8>> {
    let (header, old) = parse(file)?;
    let mut sections = old.to_vec();
    let names_index = usize::from(header.e_shstrndx.get(E).0);
    let names = sections.get(names_index)?;
    let from = usize::try_from(names.sh_offset.get(E)).ok()?;
    let len = usize::try_from(names.sh_size.get(E)).ok()?;
    let mut names = file.get(from..from.checked_add(len)?)?.to_vec();
    let mut name = |text: &str| {
        let at = u32::try_from(names.len()).ok()?;
        names.extend_from_slice(text.as_bytes());
        names.push(0);
        Some(at)
    };
    let (symtab_name, strtab_name) = (name(".symtab")?, name(".strtab")?);
    let (table, strings) = tables(old, symbols)?;

    let mut out = file.to_vec();
    let strtab = u32::try_from(sections.len()).ok()?.checked_add(1)?;
    let place = append(&mut out, &table);
    sections.push(Section {
        sh_link: U32::new(E, strtab),
        // Index of the first symbol that is not local: the one behind the empty one.
        sh_info: U32::new(E, 1),
        sh_entsize: U64::new(E, size_of::<Sym64<LittleEndian>>() as u64),
        ..section(symtab_name, SHT_SYMTAB, place)
    });
    let place = append(&mut out, &strings);
    sections.push(section(strtab_name, SHT_STRTAB, place));
    let (offset, size) = append(&mut out, &names);
    let names = &mut sections[names_index];
    names.sh_offset = U64::new(E, offset);
    names.sh_size = U64::new(E, size);

    let bytes: Vec<u8> = sections.iter().flat_map(bytes_of).copied().collect();
    let (offset, _) = append(&mut out, &bytes);
    let header = Header {
        e_shoff: U64::new(E, offset),
        e_shnum: U16::new(E, u16::try_from(sections.len()).ok()?),
        ..*header
    };
    out[..size_of::<Header>()].copy_from_slice(bytes_of(&header));
    Some(out)
}

/// Adds bytes at the next multiple of 8; gives where, and how many.
fn append(out: &mut Vec<u8>, bytes: &[u8]) -> (u64, u64) {
    out.resize(out.len().next_multiple_of(8), 0);
    let at = out.len() as u64;
    out.extend_from_slice(bytes);
    (at, bytes.len() as u64)
}

fn section(name: u32, kind: object::elf::SectionType, (offset, size): (u64, u64)) -> Section {
    Section {
        sh_name: U32::new(E, name),
        sh_type: U32::new(E, kind),
        sh_flags: U64::default(),
        sh_addr: U64::default(),
        sh_offset: U64::new(E, offset),
        sh_size: U64::new(E, size),
        sh_link: U32::default(),
        sh_info: U32::default(),
        sh_addralign: U64::new(E, 8),
        sh_entsize: U64::default(),
    }
}

/// The symbols' table and their names.
fn tables(sections: &[Section], symbols: &[Symbol]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut strings = vec![0];
    // The first symbol is always an empty one.
    let mut table = vec![0; size_of::<Sym64<LittleEndian>>()];
    for symbol in symbols {
        let within = |section: &Section| {
            let offset = symbol.address.wrapping_sub(section.sh_addr.get(E));
            section.sh_addr.get(E) != 0 && offset < section.sh_size.get(E)
        };
        let found = (0_u32..).zip(sections).find(|(_, section)| within(section));
        let code =
            found.is_some_and(|(_, section)| section.sh_flags.get(E).contains(SHF_EXECINSTR));
        let kind = if code { STT_FUNC } else { STT_OBJECT };
        let entry = Sym64::<LittleEndian> {
            st_name: U32::new(E, u32::try_from(strings.len()).ok()?),
            st_info: object::elf::SymbolInfo::new(STB_GLOBAL, kind),
            st_other: Default::default(),
            st_shndx: U16::new(E, found.map_or(SHN_ABS, |(at, _)| SymbolSection::new(at))),
            st_value: U64::new(E, symbol.address),
            st_size: U64::default(),
        };
        table.extend_from_slice(bytes_of(&entry));
        strings.extend_from_slice(symbol.name.as_bytes());
        strings.push(0);
    }
    Some((table, strings))
}
