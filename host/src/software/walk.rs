//! Walks the guest's page tables as a processor does for a data access: with permissions, page faults, and the accessed
//! and dirty flags.
//!
//! Source: Intel SDM volume 3, chapter 5: section 5.5 (4-level and 5-level paging), 5.6 (access rights), 5.7 (error codes),
//! 5.8 (accessed and dirty flags), 5.13.2 (protection keys).

use super::exception::{Done, Exception};
use crate::base::cast::to_usize;
use crate::memory::GuestMemory;
use kvm_bindings::kvm_sregs;
use std::ops::Range;

/// Flags of an entry.
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits 51-12 of an entry: the address of what it points to.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Flags of a page fault's error code.
const CODE_PRESENT: u32 = 1;
const CODE_WRITE: u32 = 1 << 1;
const CODE_USER: u32 = 1 << 2;
const CODE_RESERVED: u32 = 1 << 3;
const CODE_KEY: u32 = 1 << 5;

/// What an instruction does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// What decides about an access, beside the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// The uppermost table.
    pub(super) cr3: u64,
    /// Levels of tables: 5 with CR4.LA57, else 4.
    pub(super) levels: u32,
    /// CPL is 3.
    pub(super) user: bool,
    /// CR0.WP: a supervisor, too, may not write to a page that is read-only.
    pub(super) write_protect: bool,
    /// CR4.SMAP without RFLAGS.AC: a supervisor may not access users' pages.
    pub(super) smap: bool,
    /// EFER.NXE; without it, the no-execute flag is reserved.
    pub(super) no_execute: bool,
    /// PKRU, with CR4.PKE.
    pub(super) keys: Option<u32>,
    /// Bits of a physical address; those above are reserved.
    pub(super) width: u32,
}

/// Where a part of an access is in guest-physical memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its address.
    pub(super) gpa: u64,
    /// Which bytes of the access these are.
    pub(super) part: Range<usize>,
}

/// An entry on the way to a page: where it is, and its value.
type Step = (u64, u64);

impl Mode {
    /// The mode of a vCPU; the physical addresses' width is that of the processor, which is what the guest sees.
    pub(super) fn of(sregs: &kvm_sregs, rflags: u64, keys: Option<u32>) -> Self {
        let width = std::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff;
        // Any segment's RPL is data; CS's is the CPL.
        let user = sregs.cs.selector & 3 == 3;
        Mode {
            cr3: sregs.cr3,
            levels: if sregs.cr4 & 1 << 12 != 0 { 5 } else { 4 },
            user,
            write_protect: sregs.cr0 & 1 << 16 != 0,
            smap: !user && sregs.cr4 & 1 << 21 != 0 && rflags & 1 << 18 == 0,
            no_execute: sregs.efer & 1 << 11 != 0,
            keys,
            width: width.clamp(36, 52),
        }
    }

    /// The places of `len` bytes, each within a page. `stack` tells that RSP or RBP addresses them.
    ///
    /// # Errors
    /// The exception that the first byte which may not be accessed raises.
    pub(super) fn places(
        &self,
        memory: &GuestMemory,
        (address, stack): (u64, bool),
        len: usize,
        access: Access,
    ) -> Done<Vec<Place>> {
        let mut places = Vec::new();
        let mut done = 0;
        while done < len {
            let address = address.wrapping_add(done as u64);
            if !self.is_canonical(address) {
                return Err(match stack {
                    true => Exception::Stack.into(),
                    false => Exception::GeneralProtection.into(),
                });
            }
            let (gpa, left) = self.translate(memory, address, access)?;
            let part = done..done + left.min(len - done);
            memory.check(gpa, part.len())?;
            done = part.end;
            places.push(Place { gpa, part });
        }
        Ok(places)
    }

    fn is_canonical(&self, address: u64) -> bool {
        let unused = 64 - (12 + 9 * self.levels);
        (address << unused).cast_signed() >> unused == address.cast_signed()
    }

    /// The guest-physical address, and how many bytes of the page follow. Sets the flags that tell of the access.
    fn translate(&self, memory: &GuestMemory, address: u64, access: Access) -> Done<(u64, usize)> {
        let code = self.code(access);
        let fault = |code| Exception::PageFault { address, code };
        let mut steps: Vec<Step> = Vec::new();
        let mut table = self.cr3 & ADDRESS;
        for level in (0..self.levels).rev() {
            let shift = 12 + 9 * level;
            let at = table + (address >> shift & 0x1ff) * 8;
            let entry = memory.read_u64(at)?;
            if entry & PRESENT == 0 {
                return Err(fault(code).into());
            }
            if entry & self.reserved(level, entry) != 0 {
                return Err(fault(code | CODE_PRESENT | CODE_RESERVED).into());
            }
            steps.push((at, entry));
            if level == 0 || entry & LARGE != 0 {
                if let Some(why) = self.denies(&steps, entry, access) {
                    return Err(fault(code | CODE_PRESENT | why).into());
                }
                mark(memory, &steps, access)?;
                let mask = (1_u64 << shift) - 1;
                let gpa = (entry & ADDRESS & !mask) | (address & mask);
                return Ok((gpa, to_usize(mask + 1 - (address & mask))));
            }
            table = entry & ADDRESS;
        }
        Err(fault(code).into())
    }

    fn code(&self, access: Access) -> u32 {
        let write = if access == Access::Write {
            CODE_WRITE
        } else {
            0
        };
        write | if self.user { CODE_USER } else { 0 }
    }

    /// The bits of an entry that must be 0.
    fn reserved(&self, level: u32, entry: u64) -> u64 {
        let mut bits = ADDRESS & !((1 << self.width) - 1);
        if !self.no_execute {
            bits |= NO_EXECUTE;
        }
        match level {
            // A page's low address bits, without bit 12, which is PAT.
            1 | 2 if entry & LARGE != 0 => bits |= ((1 << (12 + 9 * level)) - 1) & !0x1fff,
            0..=2 => {}
            _ => bits |= LARGE,
        }
        bits
    }

    /// Whether the access is forbidden, and if so, what the error code says of it beside what it always does.
    fn denies(&self, steps: &[Step], page: u64, access: Access) -> Option<u32> {
        let all = |flag| steps.iter().all(|(_, entry)| entry & flag != 0);
        let write = access == Access::Write;
        let of_user = all(USER);
        let by_flags = match self.user {
            true => !of_user || (write && !all(WRITABLE)),
            false => (of_user && self.smap) || (write && self.write_protect && !all(WRITABLE)),
        };
        let by_key = of_user
            && self.keys.is_some_and(|keys| {
                let rights = keys >> (2 * (page >> 59 & 15));
                let no_writes = rights & 2 != 0 && (self.user || self.write_protect);
                rights & 1 != 0 || (write && no_writes)
            });
        (by_flags || by_key).then_some(if by_key { CODE_KEY } else { 0 })
    }
}

/// Sets the accessed flags on the way, and the dirty flag of a page that is written. No other vCPU is there to do the same.
fn mark(memory: &GuestMemory, steps: &[Step], access: Access) -> Done {
    for (index, &(at, entry)) in steps.iter().enumerate() {
        let written = access == Access::Write && index + 1 == steps.len();
        let marked = entry | ACCESSED | if written { DIRTY } else { 0 };
        if marked != entry {
            memory.write(at, &marked.to_le_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
