//! Registers and a stack, in a kernel whose code and ORC tables are made of noise as well.
#![no_main]

use jiffy::trace::Image;
use jiffy::trace::unwind::orc::Orc;
use jiffy::trace::unwind::{Stack, Start, Unwinder};
use libfuzzer_sys::fuzz_target;

const CODE: u64 = 0xffff_ffff_8100_0000;

fuzz_target!(
    |input: (Vec<u8>, Vec<(u16, [u8; 6])>, u16, u64, u64, Vec<u8>)| {
        let (code, entries, ip, sp, bp, stack) = input;
        let functions = (0..code.len() as u64)
            .step_by(16)
            .map(|at| (CODE + at, format!("asm_{at}")))
            .collect();
        let mut entries: Vec<_> = entries
            .into_iter()
            .map(|(at, entry)| (CODE + u64::from(at), entry))
            .collect();
        entries.sort();
        let image = Image::of_parts(CODE, code, functions);
        let start = Start {
            ip: CODE + u64::from(ip),
            sp,
            bp,
        };
        let stack = Stack::new(sp, &stack);
        let _ = Orc::of(&entries).walk(&image, start, stack);
        let _ = Unwinder::new(image).callers(start, stack);
    }
);
