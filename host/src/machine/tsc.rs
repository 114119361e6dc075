//! What may be said of the time stamp counter.
//!
//! unsafe lives here because reading the counter is an instruction.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::__cpuid;
use std::fs;

/// Leaf 0x8000_0007, EDX: the counter runs at one rate in all states of the processor.
const INVARIANT: u32 = 1 << 8;

/// Whether the counter of this machine, hence that of its guests, runs at one rate: by the processor's word, or because it
/// counts an emulator's instructions, or because the host's own kernel takes its time from it.
pub(crate) fn is_invariant() -> bool {
    by_processor() || counts_instructions() || is_clock_of_host()
}

fn by_processor() -> bool {
    // The highest leaf is checked: one beyond it answers what the highest basic one does.
    __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & INVARIANT != 0
}

#[cold]
fn is_clock_of_host() -> bool {
    let current = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    fs::read_to_string(current).is_ok_and(|name| name.trim_end() == "tsc")
}

/// Whether the counter counts instructions, as that of Bochs does, and of QEMU with `-icount`.
///
/// On a processor, reading it takes some 20 cycles of the core, which is more than 4 ticks even where the core runs five
/// times as fast as the counter. There is no better sign of Bochs: its CPUID says what the processor says that it emulates.
pub(crate) fn counts_instructions() -> bool {
    const APART: u32 = 3;
    (0..4).all(|_| ticks_between_two_reads() <= APART)
}

/// Ticks between two instructions that read the counter, with one other between them.
fn ticks_between_two_reads() -> u32 {
    let ticks;
    // SAFETY: every x86-64 processor has the instruction, and Linux permits it unless a process forbids it to itself.
    unsafe {
        asm!(
            "rdtsc",
            "mov {first:e}, eax",
            "rdtsc",
            "sub eax, {first:e}",
            first = out(reg) _,
            out("eax") ticks,
            out("edx") _,
            options(nomem, nostack),
        );
    }
    ticks
}
