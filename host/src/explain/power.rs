//! What guest memory tells of an orderly end: the kernel's state, and whether it ran out of memory.

use super::symbols::Symbols;
use crate::base::cast::to_usize;
use crate::layout::KERNEL_MAP;
use crate::memory::GuestMemory;
use crate::report::EndedBy;
use object::{Object, ObjectSection, ObjectSymbol};

/// `enum system_states` of include/linux/kernel.h.
const SYSTEM_HALT: u32 = 4;
const SYSTEM_POWER_OFF: u32 = 5;
const SYSTEM_RESTART: u32 = 6;

/// The largest static variable that [`out_of_memory`] compares.
const MAX_VARIABLE: u64 = 256;

/// How reboot(2) ended the kernel, if it did.
pub(crate) fn ended_by(memory: &GuestMemory, symbols: &Symbols) -> Option<EndedBy> {
    let state = symbols
        .read(memory, "system_state")
        .map(u32::from_le_bytes)?;
    // A kernel that cannot switch the power off halts instead, and notes that (kernel/reboot.c).
    let instead = symbols.read(memory, "poweroff_fallback_to_halt");
    match state {
        SYSTEM_HALT if instead == Some([1]) => Some(EndedBy::PowerOff),
        SYSTEM_HALT => Some(EndedBy::Halt),
        SYSTEM_POWER_OFF => Some(EndedBy::PowerOff),
        SYSTEM_RESTART => Some(EndedBy::Restart),
        _ => None,
    }
}

/// Whether the kernel has killed a process for want of memory. It limits how often it says so by a static variable of
/// `oom_kill_process`, with or without a log: if that is not as in the image, it has.
pub(crate) fn out_of_memory(memory: &GuestMemory, image: &[u8]) -> bool {
    changed(memory, image).unwrap_or(false)
}

fn changed(memory: &GuestMemory, image: &[u8]) -> Option<bool> {
    let file = object::File::parse(image).ok()?;
    let symbol = file.symbols().find(|symbol| {
        let name = symbol.name_bytes().unwrap_or_default();
        name == b"oom_rs" || name.starts_with(b"oom_rs.")
    })?;
    let size = symbol.size().min(MAX_VARIABLE);
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let initial = section.data_range(symbol.address(), size).ok()??;
    let mut now = vec![0; to_usize(size)];
    let gpa = symbol.address().checked_sub(KERNEL_MAP)?;
    memory.read(gpa, &mut now).ok()?;
    Some(now != initial)
}
