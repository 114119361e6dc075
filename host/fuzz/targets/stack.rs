//! Registers and a stack, in a kernel whose code and ORC tables are made of noise as well.
#![no_main]

use jiffy::fuzzing::{Orc, Registers, Stack, Unwinder};
use jiffy::trace::Image;
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
        let start = Registers {
            ip: CODE + u64::from(ip),
            sp,
            bp,
        };
        let stack = Stack::new(sp, &stack);
        let _ = Orc::of(&entries).walk(&image, start, stack);
        let _ = Unwinder::of_parts(image, None).callers(start, stack);
    }
);
