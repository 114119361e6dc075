//! What the kernel is told at its start, for every size of memory, command line, initramfs and number of processors.
#![no_main]

use jiffy::boot::{Archive, Pages};
use jiffy::fuzzing::{
    GuestMemory, HIGH_MEMORY, Initramfs, Interrupts, write_boot_params, write_mp_table,
};
use libfuzzer_sys::fuzz_target;

type Input = (u64, Vec<Vec<u8>>, u64, String, u8, Option<u8>);

fuzz_target!(|input: Input| {
    let (mib, archives, kernel_end, command_line, cpus, lines) = input;
    let Ok(mut memory) = GuestMemory::new(mib % 8192, Pages::Small) else {
        return;
    };
    let archives = archives.into_iter().map(Archive::Bytes).collect();
    let initramfs = Initramfs::open(archives).expect("bytes");
    let Ok(at) = initramfs.place(&mut memory, kernel_end) else {
        return;
    };
    assert!(at.start >= kernel_end && at.end <= memory.low_end());
    memory.expect_kernel(HIGH_MEMORY..kernel_end, HIGH_MEMORY);
    let _ = write_boot_params(&memory, &command_line, &at);
    let interrupts = lines.map(|count| Interrupts {
        first: 5,
        end: 5 + count % 20,
    });
    let _ = write_mp_table(&memory, cpus, interrupts);
});
