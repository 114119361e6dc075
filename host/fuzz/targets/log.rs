//! The kernel's log, in a guest's memory, with page tables of the guest's.
#![no_main]

use jiffy::boot::Pages;
use jiffy::fuzzing::{GuestMemory, KERNEL_MAP, Symbols, read_log, write_identity_map};
use libfuzzer_sys::fuzz_target;

/// Where the ring is.
const RING: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let memory = GuestMemory::new(8, Pages::Small).expect("memory");
    let cr3 = write_identity_map(&memory).expect("page tables");
    memory.write(0, &RING.to_le_bytes()).expect("a word");
    if memory.write(RING, bytes).is_ok() {
        let symbols = Symbols::of([("prb", KERNEL_MAP)]);
        let _ = read_log(&memory, cr3, &symbols);
    }
});
