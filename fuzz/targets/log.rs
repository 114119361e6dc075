//! The kernel's log, in a guest's memory, with page tables of the guest's.
#![no_main]

use jiffy::boot_params;
use jiffy::dmesg;
use jiffy::memory::{GuestMemory, Pages};
use jiffy::symbols::Symbols;
use jiffy::trace::image::KERNEL_MAP;
use libfuzzer_sys::fuzz_target;

/// Where the ring is.
const RING: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let memory = GuestMemory::new(8, Pages::Small).expect("memory");
    let cr3 = boot_params::write_page_tables(&memory).expect("page tables");
    memory.write(0, &RING.to_le_bytes()).expect("a word");
    if memory.write(RING, bytes).is_ok() {
        let symbols = Symbols::of([("prb", KERNEL_MAP)]);
        let _ = dmesg::read(&memory, cr3, &symbols);
    }
});
