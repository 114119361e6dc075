//! The interpreter and libraries that an ELF file asks for.

use super::Error;
use object::Endianness;
use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, ELFCLASS64, ELFDATA2MSB, ELFMAG, EM_386,
    EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64, FileClass, FileHeader64, Machine, PT_LOAD,
    ProgramHeader64,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

type Header = FileHeader64<Endianness>;

/// How many bytes [`is_for_guest`] needs.
pub(crate) const HEADER: u64 = size_of::<Header>() as u64;

/// What one ELF file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The dynamic loader; `None` for static programs and most libraries.
    pub(crate) interpreter: Option<PathBuf>,
    /// Library names, in the file's order.
    pub(crate) libraries: Vec<String>,
    /// Directories to search first, for this file and for the libraries it loads; ignored if there is a `runpath`.
    pub(crate) rpath: Option<OsString>,
    /// Directories to search for this file's own libraries.
    pub(crate) runpath: Option<OsString>,
}

/// Whether this is an ELF file.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&ELFMAG)
}

/// Whether the guest can load this file, judging by its header.
pub(crate) fn is_for_guest(bytes: &[u8]) -> bool {
    machine(bytes).is_none() && is_elf(bytes)
}

/// The machine that an ELF file is built for; `None` if that is the guest's.
fn machine(bytes: &[u8]) -> Option<String> {
    // These have the same offset in every ELF file: e_ident[EI_CLASS], e_ident[EI_DATA], and e_machine after e_type.
    let (class, order) = (FileClass(*bytes.get(4)?), *bytes.get(5)?);
    let machine = <[u8; 2]>::try_from(bytes.get(18..20)?).ok()?;
    let machine = if order == ELFDATA2MSB.0 {
        Machine(u16::from_be_bytes(machine))
    } else {
        Machine(u16::from_le_bytes(machine))
    };
    match machine {
        EM_X86_64 if class == ELFCLASS64 => None,
        EM_X86_64 => Some("x86-64 with 32-bit addresses (x32)".into()),
        EM_386 => Some("32-bit x86".into()),
        EM_AARCH64 => Some("64-bit Arm".into()),
        EM_ARM => Some("32-bit Arm".into()),
        EM_RISCV => Some("RISC-V".into()),
        other => Some(format!("another processor (ELF machine {})", other.0)),
    }
}

/// Reads what the file at `path`, whose contents are `bytes`, asks for.
///
/// # Errors
/// [`Error::Machine`] or [`Error::Damaged`].
pub(crate) fn needs(path: &Path, bytes: &[u8]) -> Result<Needs, Error> {
    if let Some(machine) = machine(bytes) {
        let path = path.to_owned();
        return Err(Error::Machine { path, machine });
    }
    parse(bytes).map_err(|why| Error::Damaged {
        path: path.to_owned(),
        why,
    })
}

fn parse(bytes: &[u8]) -> Result<Needs, String> {
    let why = |error: object::read::Error| error.to_string();
    let header = Header::parse(bytes).map_err(why)?;
    let endian = header.endian().map_err(why)?;
    let segments = header.program_headers(endian, bytes).map_err(why)?;
    let mut needs = Needs::default();
    for segment in segments {
        if let Some(interpreter) = segment.interpreter(endian, bytes).map_err(why)? {
            needs.interpreter = Some(OsStr::from_bytes(interpreter).into());
        }
        let Some(entries) = segment.dynamic(endian, bytes).map_err(why)? else {
            continue;
        };
        let strings = || {
            let table = entries
                .iter()
                .find(|entry| entry.d_tag(endian) == DT_STRTAB);
            let table = table
                .ok_or("dynamic section without a string table")?
                .d_val(endian);
            from_address(segments, endian, bytes, table).ok_or("string table outside the file")
        };
        for entry in entries {
            let string = || string_at(strings()?, entry.d_val(endian));
            match entry.d_tag(endian) {
                DT_NEEDED => {
                    let name = string()?.to_str().ok_or("a library's name is not text")?;
                    needs.libraries.push(name.into());
                }
                DT_RPATH => needs.rpath = Some(string()?.into()),
                DT_RUNPATH => needs.runpath = Some(string()?.into()),
                _ => {}
            }
        }
    }
    Ok(needs)
}

/// The file's contents, starting with the byte that is loaded at `address`.
fn from_address<'a>(
    segments: &[ProgramHeader64<Endianness>],
    endian: Endianness,
    bytes: &'a [u8],
    address: u64,
) -> Option<&'a [u8]> {
    segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
        .find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(endian))?;
            let data = segment.data(endian, bytes).ok()?;
            data.get(usize::try_from(within).ok()?..)
                .filter(|rest| !rest.is_empty())
        })
}

fn string_at(table: &[u8], offset: u64) -> Result<&OsStr, String> {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| table.get(offset..));
    let rest = rest.ok_or("a string lies outside the string table")?;
    let end = rest
        .iter()
        .position(|&byte| byte == 0)
        .ok_or("a string has no end")?;
    Ok(OsStr::from_bytes(&rest[..end]))
}
