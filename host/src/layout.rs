//! Where things lie in guest-physical memory, each with its reason; and where Linux maps them.

/// The MP table: the first place where a kernel looks for it.
pub(crate) const MP_TABLE: u64 = 0;

/// PVH's start info, with the memory map and the initramfs behind it: below what the other protocol needs.
pub(crate) const START_INFO: u64 = 0x6000;

/// `boot_params`, the "zero page" of the boot protocol: low, where the kernel expects nothing of its own.
pub(crate) const BOOT_PARAMS: u64 = 0x7000;

/// Data that `boot_params` points to, behind it.
pub(crate) const SETUP_DATA: u64 = 0x8000;

/// The boot page tables: top level, one page of 1 GiB entries, one page of 2 MiB entries.
pub(crate) const PAGE_TABLES: u64 = 0x9000;

/// The kernel command line, NUL-terminated.
pub(crate) const COMMAND_LINE: u64 = 0x2_0000;

/// The most the kernel takes (`COMMAND_LINE_SIZE` in arch/x86/include/asm/setup.h), NUL included.
pub(crate) const COMMAND_LINE_SIZE: usize = 2048;

/// End of the low memory that the memory map offers: above lie a PC's BIOS area and video memory.
pub(crate) const LOW_MEMORY_END: u64 = 0x9_fc00;

/// Start of the memory above the BIOS area, where kernels are linked to run.
pub const HIGH_MEMORY: u64 = 0x10_0000;

/// RAM ends here at the latest: above lie the local APIC, I/O APIC and device windows of a PC.
pub(crate) const MMIO_GAP: u64 = 0xc000_0000;

/// Firecracker's boot timer: a guest made for it writes the byte 123 when it is ready; once, and today.
pub(crate) const BOOT_TIMERS: [u64; 2] = [0xd000_0000, 0xc000_0000];

/// Registers of virtio devices, a page each, behind the page of the older boot timer.
pub(crate) const DEVICES: u64 = 0xd000_1000;

/// The I/O APIC's page, where a PC has it.
pub(crate) const IOAPIC: u64 = 0xfec0_0000;

/// RAM that the gap displaced goes on here.
pub(crate) const ABOVE_GAP: u64 = 0x1_0000_0000;

/// Three pages that KVM needs on Intel for real mode (`KVM_SET_TSS_ADDR`), inside the gap, unused by a PC.
pub(crate) const KVM_TSS: usize = 0xfffb_d000;

/// The size of a small page.
pub(crate) const PAGE: u64 = 4096;

/// Where the kernel's image is mapped (`__START_KERNEL_map` in arch/x86/include/asm/page_64_types.h): a vmlinux that is
/// entered directly runs at its link address, so the offset from here is the physical address.
pub const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
