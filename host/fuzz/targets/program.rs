//! A program to take along: its interpreter, or the libraries that its dynamic section names.
#![no_main]

use jiffy::payload;
use libfuzzer_sys::fuzz_target;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("jiffy-fuzz-{}", std::process::id()));
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a program");
    let _ = payload::programs(std::slice::from_ref(&path), &mut io::sink());
    fs::remove_file(&path).expect("a file");
});
