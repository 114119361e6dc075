//! An ELF file: its code, symbols and ORC tables.
#![no_main]

use jiffy::fuzzing::{Registers, Stack, Unwinder};
use jiffy::trace::Image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let image = Image::parse(bytes);
    let ip = image.functions().next().map_or(0, |(address, _)| address);
    let start = Registers { ip, sp: 0, bp: 8 };
    let _ = Unwinder::parse(bytes).callers(start, Stack::new(0, bytes));
});
