//! A bzImage: what is in it is unpacked, in bounded memory.
#![no_main]

use jiffy::bzimage::{MAX_KERNEL, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Noise alone would seldom have a header: it is the payload.
    let mut file = vec![0; 1024];
    file[0x1f1] = 1;
    file[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    let len = u32::try_from(bytes.len()).expect("libFuzzer's inputs are small");
    file[0x24c..0x250].copy_from_slice(&len.to_le_bytes());
    file.extend_from_slice(bytes);
    if let Ok(vmlinux) = unpack(&file) {
        assert!(vmlinux.len() <= MAX_KERNEL);
    }
    let _ = unpack(bytes);
});
