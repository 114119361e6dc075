//! The kernel's trace buffer, in a guest's memory, from its count of records on.
#![no_main]

use jiffy::boot::Pages;
use jiffy::fuzzing::{GuestMemory, KERNEL_MAP, Scale, Symbols, Tick, read_stamps};
use jiffy_abi::trace as abi;
use libfuzzer_sys::fuzz_target;

const SCALE: Scale = Scale {
    first: Tick { tsc: 0, us: 0.0 },
    last: Tick { tsc: 1000, us: 1.0 },
};

fuzz_target!(|bytes: &[u8]| {
    let memory = GuestMemory::new(8, Pages::Small).expect("memory");
    let version = abi::BOOT_TRACE_VERSION | 24 << 16;
    let mut buffer = [abi::BOOT_TRACE_MAGIC, version]
        .map(u32::to_le_bytes)
        .concat();
    buffer.extend(bytes);
    if memory.write(1 << 20, &buffer).is_ok() {
        let symbols = Symbols::of([("boot_trace_buffer", KERNEL_MAP + (1 << 20))]);
        let _ = read_stamps(&memory, &symbols, SCALE);
    }
});
