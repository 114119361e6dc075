//! The kernel's memory by its virtual addresses, also where its page tables are lost.

use crate::error::{Error, Result};
use crate::layout::KERNEL_MAP;
use crate::memory::{GuestMemory, paging};

/// Where Linux maps all memory, unless the address was made random, which no kernel does that is entered directly
/// (`__PAGE_OFFSET_BASE_L4` in arch/x86/include/asm/page_64_types.h).
const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;

/// A guest's memory as its kernel sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelMemory<'a> {
    pub(super) memory: &'a GuestMemory,
    /// The page tables; 0 if KVM has reset the vCPU.
    pub(super) cr3: u64,
}

impl KernelMemory<'_> {
    /// Fills `into` from an address.
    pub(super) fn fill(&self, address: u64, into: &mut [u8]) -> Result<()> {
        if self.cr3 != 0 && paging::read(self.memory, self.cr3, address, into).is_ok() {
            return Ok(());
        }
        let gpa = address
            .checked_sub(KERNEL_MAP)
            .or_else(|| address.checked_sub(DIRECT_MAP))
            .ok_or(Error::OutOfBounds {
                gpa: address,
                len: into.len(),
            })?;
        self.memory.read(gpa, into)
    }

    /// So many bytes.
    pub(super) fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(address, &mut bytes).ok()?;
        Some(bytes)
    }

    /// A word.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        self.read(address).map(u64::from_le_bytes)
    }
}
