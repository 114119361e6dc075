//! A vmlinux: its headers are read, and its segments placed in a guest's memory.
#![no_main]

use jiffy::boot::{Pages, Protocol};
use jiffy::fuzzing::{Entry, GuestMemory, Kernel};
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

fuzz_target!(|bytes: &[u8]| {
    let mut file = File::from(memfd_create("vmlinux", MemfdFlags::CLOEXEC).expect("a memfd"));
    file.write_all(bytes).expect("memory");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Ok(kernel) = Kernel::open(&path) else {
        return;
    };
    let mut memory = GuestMemory::new(8, Pages::Small).expect("memory");
    if let Ok(end) = kernel.place(&mut memory) {
        assert!(end <= memory.len());
        if let Ok(Entry::Linux64(entry)) = kernel.entry(Protocol::Linux64) {
            assert!(entry < end);
        }
        let _ = kernel.entry(Protocol::Pvh);
    }
});
