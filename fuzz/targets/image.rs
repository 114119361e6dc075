//! An ELF file: its code, symbols and ORC tables.
#![no_main]

use jiffy::trace::Image;
use jiffy::trace::unwind::{Stack, Start, Unwinder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let image = Image::parse(bytes);
    let ip = image.functions().next().map_or(0, |(address, _)| address);
    let start = Start { ip, sp: 0, bp: 8 };
    let _ = Unwinder::new(image).callers(start, Stack::new(0, bytes));
});
