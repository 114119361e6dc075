//! PVH's start info: what a kernel reads that is entered by PVH, the boot protocol of Xen that Linux, FreeBSD and others
//! support.
//!
//! Source: docs/misc/pvh.pandoc of Xen; include/xen/interface/hvm/start_info.h of Linux.

use super::boot_params::{self, E820_RAM};
use crate::error::Result;
use crate::layout;
use crate::memory::GuestMemory;
use std::ops::Range;

/// `XEN_HVM_START_MAGIC_VALUE`, and the version that has a memory map.
const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;

/// Sizes of `hvm_start_info` and `hvm_modlist_entry`; the memory map follows them.
const INFO: u64 = 56;
const MODULE: u64 = 32;

/// Offset of the address of the ACPI tables' root pointer.
const RSDP: u64 = 32;

/// Tells the kernel where the ACPI tables are.
///
/// # Errors
/// None for a guest of the smallest size.
pub(crate) fn write_acpi(memory: &GuestMemory) -> Result<()> {
    memory.write(layout::START_INFO + RSDP, &layout::ACPI.to_le_bytes())
}

/// Writes the command line and the start info for a kernel with this initramfs (guest-physical, may be empty).
///
/// # Errors
/// [`crate::Error::CommandLine`] when it is too long.
pub(crate) fn write(
    memory: &GuestMemory,
    command_line: &str,
    initramfs: &Range<u64>,
) -> Result<()> {
    boot_params::write_command_line(memory, command_line)?;
    let usable = boot_params::usable(memory);
    let module = layout::START_INFO + INFO;
    let map = module + MODULE;
    let mut info = Vec::new();
    // Magic, version, flags (none), number of modules.
    for word in [MAGIC, VERSION, 0, u32::from(!initramfs.is_empty())] {
        info.extend(word.to_le_bytes());
    }
    // The modules, the command line, no ACPI yet, the memory map.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Pages;

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
