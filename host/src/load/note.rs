//! The ELF note by which a kernel offers to be entered by PVH.
//!
//! Source: include/xen/interface/elfnote.h of Linux.

use crate::base::cast::to_usize;
use object::LittleEndian;
use object::elf::{FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Headers are looked for in this much of the file: an ELF header and some hundred program headers.
pub(super) const HEADERS: usize = 16 << 10;

/// `XEN_ELFNOTE_PHYS32_ENTRY`, and its owner.
const PHYS32_ENTRY: u32 = 18;
const OWNER: &[u8] = b"Xen";

/// At most this much of a segment of notes is read; Linux's has some hundred bytes.
const NOTES: u64 = 64 << 10;

/// The entry point that a vmlinux offers in a note, a guest-physical address; `None` if it offers none.
pub(super) fn pvh_entry(file: &File) -> Option<u32> {
    let len = file.metadata().ok()?.len();
    let mut headers = vec![0; to_usize(len).min(HEADERS)];
    file.read_exact_at(&mut headers, 0).ok()?;
    let header = FileHeader64::<LittleEndian>::parse(&*headers).ok()?;
    let programs = header.program_headers(LittleEndian, &*headers).ok()?;
    let notes = programs
        .iter()
        .filter(|program| program.p_type(LittleEndian) == PT_NOTE);
    notes.into_iter().find_map(|program| {
        let mut bytes = vec![0; program.p_filesz(LittleEndian).min(NOTES) as usize];
        file.read_exact_at(&mut bytes, program.p_offset(LittleEndian))
            .ok()?;
        in_notes(&bytes, program.p_align(LittleEndian))
    })
}

fn in_notes(bytes: &[u8], align: u64) -> Option<u32> {
    let mut notes =
        NoteIterator::<FileHeader64<LittleEndian>>::new(LittleEndian, align, bytes).ok()?;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == OWNER && note.n_type(LittleEndian).0 == PHYS32_ENTRY {
            // Linux has 8 bytes of it where it is built for 64 bits; the address has 32 in any case.
            let value = note.desc().first_chunk()?;
            return Some(u32::from_le_bytes(*value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Entry, Protocol};
    use super::super::kernel::Kernel;
    use super::*;
    use crate::base::cast::to_u32;
    use std::io::Write;

    fn note(owner: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
        let lengths = [to_u32(owner.len()), to_u32(value.len()), kind];
        let mut bytes: Vec<u8> = lengths.iter().flat_map(|word| word.to_le_bytes()).collect();
        for part in [owner, value] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_entry_is_found_among_other_notes() {
        let ours = note(b"Xen\0", PHYS32_ENTRY, &0x20_0040_u64.to_le_bytes());
        let others = [
            note(b"Linux\0", PHYS32_ENTRY, &[1; 4]),
            note(b"Xen\0", 19, &[2; 12]),
        ]
        .concat();
        assert_eq!(in_notes(&[&others[..], &ours].concat(), 4), Some(0x20_0040));
        assert_eq!(in_notes(&others, 4), None);
        assert_eq!(in_notes(&ours[..ours.len() - 6], 4), None);
        assert_eq!(in_notes(&note(b"Xen\0", PHYS32_ENTRY, &[1, 2]), 4), None);
    }

    #[test]
    fn a_kernel_is_entered_as_asked_or_as_it_can_be() {
        let opened = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            Kernel::open(file.path()).unwrap()
        };
        let mut image = jiffy_flat::FLAT.to_vec();
        let kernel = opened(&image);
        assert_eq!(
            kernel.entry(Protocol::Linux64).unwrap(),
            Entry::Linux64(0x10_0000)
        );
        assert_eq!(kernel.entry(Protocol::Pvh).unwrap(), Entry::Pvh(0x10_0000));
        // An ELF entry point that is a virtual address, at offset 24 of the header.
        image[24..32].copy_from_slice(&0xffff_ffff_8100_0000_u64.to_le_bytes());
        let kernel = opened(&image);
        assert_eq!(
            kernel.entry(Protocol::Linux64).unwrap(),
            Entry::Pvh(0x10_0000)
        );
        let at = image
            .windows(4)
            .position(|bytes| bytes == b"Xen\0")
            .unwrap();
        image[at] = b'x';
        assert!(opened(&image).entry(Protocol::Linux64).is_err());
    }
}
