//! PVH's start info: what a kernel reads that is entered by PVH, the boot protocol of Xen that Linux, FreeBSD and others
//! support.
//!
//! Source: docs/misc/pvh.pandoc of Xen; include/xen/interface/hvm/start_info.h of Linux.

use super::bindings::start_info::{
    XEN_HVM_MEMMAP_TYPE_RAM, XEN_HVM_START_MAGIC_VALUE, hvm_memmap_table_entry, hvm_modlist_entry,
    hvm_start_info,
};
use super::boot_params;
use crate::base::cast::to_u32;
use crate::error::Result;
use crate::layout;
use crate::memory::GuestMemory;
use std::mem::{offset_of, size_of};
use std::ops::Range;

/// The version that has a memory map.
const VERSION: u32 = 1;

/// Where the initramfs' entry and the memory map lie: they follow the start info.
const MODULE: u64 = layout::START_INFO + size_of::<hvm_start_info>() as u64;
const MEMORY_MAP: u64 = MODULE + size_of::<hvm_modlist_entry>() as u64;

/// Tells the kernel where the ACPI tables are.
///
/// # Errors
/// None for a guest of the smallest size.
pub(crate) fn write_acpi(memory: &GuestMemory) -> Result<()> {
    let at = layout::START_INFO + offset_of!(hvm_start_info, rsdp_paddr) as u64;
    memory.write(at, &layout::ACPI.to_le_bytes())
}

/// Writes the command line and the start info for a kernel with this initramfs (guest-physical, may be empty). Fields that
/// are not written are zero, as guest memory starts out: no flags, no command line of the initramfs.
///
/// # Errors
/// [`crate::Error::CommandLine`] when it is too long.
pub(crate) fn write(
    memory: &GuestMemory,
    command_line: &str,
    initramfs: &Range<u64>,
) -> Result<()> {
    boot_params::write_command_line(memory, command_line)?;
    let word =
        |at: u64, offset: usize, value: u32| memory.write(at + offset as u64, &value.to_le_bytes());
    let address =
        |at: u64, offset: usize, value: u64| memory.write(at + offset as u64, &value.to_le_bytes());
    let usable = boot_params::usable(memory);
    let info = layout::START_INFO;
    word(
        info,
        offset_of!(hvm_start_info, magic),
        XEN_HVM_START_MAGIC_VALUE,
    )?;
    word(info, offset_of!(hvm_start_info, version), VERSION)?;
    let modules = u32::from(!initramfs.is_empty());
    word(info, offset_of!(hvm_start_info, nr_modules), modules)?;
    address(info, offset_of!(hvm_start_info, modlist_paddr), MODULE)?;
    address(
        info,
        offset_of!(hvm_start_info, cmdline_paddr),
        layout::COMMAND_LINE,
    )?;
    address(info, offset_of!(hvm_start_info, memmap_paddr), MEMORY_MAP)?;
    word(
        info,
        offset_of!(hvm_start_info, memmap_entries),
        to_u32(usable.len()),
    )?;
    address(
        MODULE,
        offset_of!(hvm_modlist_entry, paddr),
        initramfs.start,
    )?;
    let size = initramfs.end - initramfs.start;
    address(MODULE, offset_of!(hvm_modlist_entry, size), size)?;
    let mut at = MEMORY_MAP;
    for range in usable {
        let size = range.end - range.start;
        address(at, offset_of!(hvm_memmap_table_entry, addr), range.start)?;
        address(at, offset_of!(hvm_memmap_table_entry, size), size)?;
        word(
            at,
            offset_of!(hvm_memmap_table_entry, type_),
            XEN_HVM_MEMMAP_TYPE_RAM,
        )?;
        at += size_of::<hvm_memmap_table_entry>() as u64;
    }
    Ok(())
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
        assert_eq!(word(0), 0x336e_c578 | 1 << 32);
        let (info, module) = (56, 32);
        assert_eq!((word(8) >> 32, word(16)), (1, layout::START_INFO + info));
        assert_eq!((word(24), word(32)), (layout::COMMAND_LINE, 0));
        assert_eq!(
            (word(40), word(48)),
            (layout::START_INFO + info + module, 2)
        );
        assert_eq!((word(info), word(info + 8)), (0x70_0000, 0x1000));
        let map = info + module;
        assert_eq!((word(map), word(map + 16)), (0, 1));
        assert_eq!((word(map + 24), word(map + 32)), (1 << 20, 7 << 20));
    }
}
