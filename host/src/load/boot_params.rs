//! What the kernel is told at its entry by Linux's boot protocol: `boot_params` and the command line.
//!
//! Source: Documentation/arch/x86/boot.rst ("64-bit Boot Protocol") and zero-page.rst of the kernel. There is no global
//! descriptor table: startup_64 loads its own before it loads any segment register.

use crate::base::cast::{low32, to_u32};
use crate::error::{Error, Result};
use crate::layout;
use crate::memory::GuestMemory;
use linux_raw_sys::bootparam::{boot_e820_entry, boot_params, setup_header};
use std::mem::{offset_of, size_of};
use std::ops::Range;

/// Offset of the setup header in `boot_params`.
const HEADER: usize = offset_of!(boot_params, hdr);

/// E820 type of usable memory.
pub(super) const E820_RAM: u32 = 1;

/// Writes the command line and `boot_params` for a kernel with this initramfs (guest-physical, may be empty).
///
/// # Errors
/// [`Error::CommandLine`] when it is too long.
pub fn write(memory: &GuestMemory, command_line: &str, initramfs: &Range<u64>) -> Result<()> {
    write_command_line(memory, command_line)?;
    let field =
        |offset: usize, bytes: &[u8]| memory.write(layout::BOOT_PARAMS + offset as u64, bytes);
    let header = |offset: usize, value: u32| field(HEADER + offset, &value.to_le_bytes());
    field(
        HEADER + offset_of!(setup_header, boot_flag),
        &0xaa55_u16.to_le_bytes(),
    )?;
    header(
        offset_of!(setup_header, header),
        u32::from_le_bytes(*b"HdrS"),
    )?;
    // 0xff: a boot loader without a number of its own.
    field(HEADER + offset_of!(setup_header, type_of_loader), &[0xff])?;
    header(
        offset_of!(setup_header, cmd_line_ptr),
        low32(layout::COMMAND_LINE),
    )?;
    header(
        offset_of!(setup_header, cmdline_size),
        to_u32(command_line.len()),
    )?;
    // The initramfs lies below the gap, hence below 4 GiB.
    header(
        offset_of!(setup_header, ramdisk_image),
        low32(initramfs.start),
    )?;
    header(
        offset_of!(setup_header, ramdisk_size),
        low32(initramfs.end - initramfs.start),
    )?;
    write_memory_map(memory)
}

/// Gives the kernel random bytes to begin with, for a processor that has none to give: until the kernel believes to have
/// enough, it hashes all that it has for each number that anybody asks for, some hundred times during a boot.
///
/// Source: Documentation/arch/x86/boot.rst, "setup_data"; the kernel erases the bytes when it has read them.
///
/// # Errors
/// None for a guest of the smallest size.
#[cold]
pub fn write_seed(memory: &GuestMemory, seed: &[u8; 32]) -> Result<()> {
    /// `SETUP_RNG_SEED` in arch/x86/include/uapi/asm/setup_data.h.
    const RNG_SEED: u32 = 9;
    let mut data = [0; 48];
    data[8..12].copy_from_slice(&RNG_SEED.to_le_bytes());
    data[12..16].copy_from_slice(&to_u32(seed.len()).to_le_bytes());
    data[16..].copy_from_slice(seed);
    memory.write(layout::SETUP_DATA, &data)?;
    let field = HEADER + offset_of!(setup_header, setup_data);
    memory.write(
        layout::BOOT_PARAMS + field as u64,
        &layout::SETUP_DATA.to_le_bytes(),
    )
}

/// Writes the command line to where both boot protocols point.
///
/// # Errors
/// [`Error::CommandLine`] when it is too long.
pub(super) fn write_command_line(memory: &GuestMemory, command_line: &str) -> Result<()> {
    if command_line.len() >= layout::COMMAND_LINE_SIZE {
        return Err(Error::CommandLine(command_line.len()));
    }
    // Guest memory starts out zero, so the NUL is there.
    memory.write(layout::COMMAND_LINE, command_line.as_bytes())
}

/// What the kernel may use of its RAM.
pub(super) fn usable(memory: &GuestMemory) -> Vec<Range<u64>> {
    let mut usable = Vec::with_capacity(3);
    for region in memory.regions() {
        let end = region.gpa + region.len;
        if region.gpa == 0 {
            usable.extend([0..layout::LOW_MEMORY_END, memory.first_usable()..end]);
        } else {
            usable.push(region.gpa..end);
        }
    }
    usable
}

fn write_memory_map(memory: &GuestMemory) -> Result<()> {
    let mut count = 0_u8;
    for range in usable(memory) {
        let at = layout::BOOT_PARAMS
            + (offset_of!(boot_params, e820_table)
                + usize::from(count) * size_of::<boot_e820_entry>()) as u64;
        memory.write(at, &range.start.to_le_bytes())?;
        memory.write(at + 8, &(range.end - range.start).to_le_bytes())?;
        memory.write(at + 16, &E820_RAM.to_le_bytes())?;
        count += 1;
    }
    memory.write(
        layout::BOOT_PARAMS + offset_of!(boot_params, e820_entries) as u64,
        &[count],
    )
}
