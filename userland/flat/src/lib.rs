//! The halting kernel: an ELF that rings the doorbell and stops, to price the VMM alone.
//!
//! It is entered as a vmlinux is, by Linux's 64-bit boot protocol, or by PVH where a VMM prefers that.
#![no_std]

/// The kernel's bytes: an x86-64 ELF with one loadable segment at 1 MiB.
pub const FLAT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flat"));

#[cfg(test)]
mod tests {
    extern crate std;
    use super::FLAT;
    use jiffy_abi::port::{READY, READY_BYTE};
    use object::LittleEndian;
    use object::elf::{EM_X86_64, FileHeader64, PT_LOAD};
    use object::read::elf::{FileHeader, ProgramHeader};
    use std::vec::Vec;

    const LE: LittleEndian = LittleEndian;

    #[test]
    fn one_small_segment_at_one_mebibyte_holds_the_entry() {
        let header = FileHeader64::<LittleEndian>::parse(FLAT).unwrap();
        assert_eq!(header.e_machine(LE), EM_X86_64);
        let headers = header.program_headers(LE, FLAT).unwrap();
        let loads: Vec<_> = headers
            .iter()
            .filter(|one| one.p_type(LE) == PT_LOAD)
            .collect();
        let [load] = loads[..] else {
            panic!("{} loadable segments", loads.len());
        };
        assert_eq!(load.p_paddr(LE), 0x10_0000);
        assert_eq!(load.p_filesz(LE), load.p_memsz(LE));
        let segment = load.p_paddr(LE)..load.p_paddr(LE) + load.p_filesz(LE);
        assert!(segment.contains(&header.e_entry(LE)));
        assert!(FLAT.len() < 1024, "{} bytes", FLAT.len());
    }

    #[test]
    fn it_rings_before_it_does_anything_else() {
        let [low, high] = READY.to_le_bytes();
        // mov $READY, %edx; mov $READY_BYTE, %al; out %al, %dx
        let code = [0xba, low, high, 0, 0, 0xb0, READY_BYTE, 0xee];
        assert!(FLAT.windows(code.len()).any(|bytes| bytes == code));
    }
}
