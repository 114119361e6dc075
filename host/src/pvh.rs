//! PVH, the boot protocol that Xen made and Linux, FreeBSD and others take: entry in 32-bit protected mode without paging.
//!
//! Source: docs/misc/pvh.pandoc of Xen; include/xen/interface/hvm/start_info.h and elfnote.h of Linux.

use crate::boot_params::{self, E820_RAM};
use crate::error::Result;
use crate::kernel::HEADERS;
use crate::layout;
use crate::memory::GuestMemory;
use crate::vm::flat_data;
use kvm_bindings::{kvm_segment, kvm_sregs};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// `XEN_ELFNOTE_PHYS32_ENTRY`, and whose note it is.
const PHYS32_ENTRY: u32 = 18;
const OWNER: &[u8] = b"Xen";

/// The most that is read of a segment of notes; Linux's has some hundred bytes.
const NOTES: u64 = 64 << 10;

/// `XEN_HVM_START_MAGIC_VALUE`, and the version that has a memory map.
const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;

/// Lengths of `hvm_start_info` and `hvm_modlist_entry`, which lie one behind the other, the memory map behind them.
const INFO: u64 = 56;
const MODULE: u64 = 32;

/// The entry point that a vmlinux offers in a note, if it does.
pub(crate) fn entry(file: &File) -> Option<u32> {
    let len = file.metadata().ok()?.len();
    let mut headers = vec![0; len.min(HEADERS as u64) as usize];
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

/// Writes the command line and the start info for a kernel with this initramfs (guest-physical, may be empty).
///
/// # Errors
/// [`crate::Error::CommandLine`] when it is too long.
pub fn write(memory: &GuestMemory, command_line: &str, initramfs: &Range<u64>) -> Result<()> {
    boot_params::write_command_line(memory, command_line)?;
    let usable = boot_params::usable(memory);
    let module = layout::START_INFO + INFO;
    let map = module + MODULE;
    let mut info = Vec::new();
    // Magic, version, flags (none), number of modules.
    for word in [MAGIC, VERSION, 0, u32::from(!initramfs.is_empty())] {
        info.extend(word.to_le_bytes());
    }
    // The modules, the command line, no ACPI, the memory map.
    for address in [module, layout::COMMAND_LINE, 0, map, usable.len() as u64] {
        info.extend(address.to_le_bytes());
    }
    // The initramfs: its address and length, and that it has no command line.
    for word in [initramfs.start, initramfs.end - initramfs.start, 0, 0] {
        info.extend(word.to_le_bytes());
    }
    for range in usable {
        for word in [range.start, range.end - range.start, E820_RAM.into()] {
            info.extend(word.to_le_bytes());
        }
    }
    memory.write(layout::START_INFO, &info)
}

/// Sets what PVH says of the processor: flat 32-bit segments, a task register, no paging.
pub(crate) fn set_mode(sregs: &mut kvm_sregs) {
    const CR0_PE_ET: u64 = 1 | 1 << 4;
    let data = flat_data();
    (sregs.cr0, sregs.cr4, sregs.efer) = (CR0_PE_ET, 0, 0);
    sregs.cs = kvm_segment {
        selector: 0x10,
        type_: 11,
        ..data
    };
    (sregs.ds, sregs.es, sregs.fs) = (data, data, data);
    (sregs.gs, sregs.ss) = (data, data);
    sregs.tr = kvm_segment {
        limit: 0x67,
        type_: 11,
        present: 1,
        ..Default::default()
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Entry, Kernel, Protocol};
    use crate::memory::Pages;
    use std::io::Write;

    fn note(owner: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
        let lengths = [owner.len() as u32, value.len() as u32, kind];
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

    #[test]
    fn start_info_says_where_things_are() {
        let memory = GuestMemory::new(8, Pages::Small).unwrap();
        write(&memory, "quiet", &(0x70_0000..0x70_1000)).unwrap();
        let word = |at| memory.read_u64(layout::START_INFO + at).unwrap();
        assert_eq!(word(0), u64::from(MAGIC) | 1 << 32);
        assert_eq!((word(8) >> 32, word(16)), (1, layout::START_INFO + INFO));
        assert_eq!((word(24), word(32)), (layout::COMMAND_LINE, 0));
        assert_eq!(
            (word(40), word(48)),
            (layout::START_INFO + INFO + MODULE, 2)
        );
        assert_eq!((word(INFO), word(INFO + 8)), (0x70_0000, 0x1000));
        let map = INFO + MODULE;
        assert_eq!((word(map), word(map + 16)), (0, u64::from(E820_RAM)));
        assert_eq!((word(map + 24), word(map + 32)), (1 << 20, 7 << 20));
    }
}
