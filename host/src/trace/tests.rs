//! The unwinders on made-up code, and everything that reads what a guest wrote on noise.

use super::image::Image;
use super::raw::How;
use super::stamps::{self, Scale, Tick};
use super::unwind::orc::Orc;
use super::unwind::scan::Scanner;
use super::unwind::stack::MAX_FRAMES;
use super::unwind::{Registers, Stack, Unwinder};
use crate::explain::symbols::Symbols;
use crate::layout::KERNEL_MAP;
use crate::memory::{GuestMemory, Pages};
use jiffy_abi::trace as abi;
use proptest::prelude::*;

/// Where the made-up code lies.
const CODE: u64 = 0xffff_ffff_8100_0000;

/// Functions of 64 bytes, `names` in order; each calls the next one, its return address at +32.
fn code(names: &[&str], prologue: &[u8]) -> Vec<u8> {
    let mut code = vec![0x90; 64 * names.len()];
    for function in code.chunks_exact_mut(64) {
        function[..prologue.len()].copy_from_slice(prologue);
        function[27] = 0xe8;
        // From the call's end, at +32, to the next function's start.
        function[28..32].copy_from_slice(&32_i32.to_le_bytes());
    }
    code
}

fn functions(names: &[&str]) -> Vec<(u64, String)> {
    let functions = names.iter().enumerate();
    functions
        .map(|(index, name)| (address(index, 0), (*name).to_owned()))
        .collect()
}

fn image(names: &[&str], prologue: &[u8]) -> Image {
    Image::of_parts(CODE, code(names, prologue), functions(names))
}

fn address(function: usize, offset: u64) -> u64 {
    CODE + 64 * function as u64 + offset
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn a_scan_passes_over_what_old_calls_left() {
    let image = image(&["start", "middle", "old", "leaf", "end"], &[]);
    // leaf was called by old, old by middle, middle by start; a stale return address of start lies in between.
    let stack = bytes(&[
        7,
        address(2, 32),
        address(0, 32),
        CODE + 1,
        address(1, 32),
        0,
        address(0, 32),
    ]);
    let chain = Scanner::default().walk(&image, address(3, 5), Stack::new(0x1000, &stack));
    assert_eq!(chain, [address(2, 32), address(1, 32), address(0, 32)]);
}

#[test]
fn a_scan_knows_that_a_function_may_end_in_a_jump() {
    // start calls middle, which calls jumper; jumper jumps to leaf.
    let mut code = code(&["start", "middle", "jumper", "leaf"], &[]);
    code[2 * 64 + 40] = 0xe9;
    code[2 * 64 + 41..2 * 64 + 45].copy_from_slice(&19_i32.to_le_bytes());
    let image = Image::of_parts(
        CODE,
        code,
        functions(&["start", "middle", "jumper", "leaf"]),
    );
    let stack = bytes(&[address(1, 32), address(0, 32)]);
    let chain = Scanner::default().walk(&image, address(3, 5), Stack::new(0x1000, &stack));
    assert_eq!(chain, [address(1, 32), address(0, 32)]);
}

#[test]
fn early_code_is_named_by_its_link_address() {
    let image = image(&["start", "leaf"], &[]);
    assert_eq!(image.linked(0x100_0040), address(1, 0));
    assert_eq!(image.linked(0x900_0000), 0x900_0000);
    assert_eq!(image.function(address(1, 3)), Some((address(1, 0), "leaf")));
    assert_eq!(image.function(0x10), None);
}

#[test]
fn frame_pointers_are_followed_upwards_only() {
    let image = image(&["start", "middle", "leaf"], &[0x55, 0x48, 0x89, 0xe5]);
    assert!(image.frame_pointers());
    let start = Registers {
        ip: address(2, 20),
        sp: 0x1000,
        bp: 0x1010,
    };
    // At 0x1010 the frame of leaf, at 0x1020 that of middle, which points back to itself.
    let stack = bytes(&[0, 0, 0x1020, address(1, 32), 0x1020, address(0, 32)]);
    let (chain, how) = Unwinder::of_parts(image, None).callers(start, Stack::new(0x1000, &stack));
    assert_eq!(how, How::FramePointers);
    assert_eq!(chain, [address(1, 32), address(0, 32)]);
}

/// An entry for code whose caller's frame begins so many bytes above RSP.
fn orc_entry(sp_offset: u8, kind: u8) -> [u8; 6] {
    const SP: u8 = 5;
    [sp_offset, 0, 0, 0, SP, kind]
}

/// Walks from leaf to start, by tables that say how many words each keeps on the stack.
fn leads_to_the_stacks_end(orc: &Orc) {
    let image = image(&["start", "middle", "leaf", "end"], &[]);
    let stack = bytes(&[7, 7, address(1, 32), 7, address(0, 32)]);
    let start = Registers {
        ip: address(2, 3),
        sp: 0x1000,
        bp: 0,
    };
    let (chain, complete) = orc.walk(&image, start, Stack::new(0x1000, &stack));
    assert_eq!(chain, [address(1, 32), address(0, 32)]);
    assert!(complete);
}

#[test]
fn orc_tables_lead_to_the_stacks_end() {
    const END: u8 = 1;
    const CALL: u8 = 2;
    // start is the end, middle keeps one word on the stack, leaf two.
    let orc = Orc::of(&[
        (address(0, 0), orc_entry(8, END)),
        (address(1, 0), orc_entry(16, CALL)),
        (address(2, 0), orc_entry(24, CALL)),
    ]);
    leads_to_the_stacks_end(&orc);
}

/// The same in a kernel before 6.4, where the end has no register, and its bit has moved once.
#[test]
fn old_orc_tables_lead_to_the_stacks_end() {
    for end in [0b100, 0b1000] {
        let orc = Orc::of_old(&[
            (address(0, 0), [0, 0, 0, 0, 0, end]),
            (address(1, 0), orc_entry(16, 0)),
            (address(2, 0), orc_entry(24, 0)),
        ]);
        leads_to_the_stacks_end(&orc);
    }
}

/// `push %rbp; xor %eax,%eax; mov %rsp,%rbp`: between the two, RBP is the caller's.
#[test]
fn a_prologue_may_be_scheduled_apart() {
    let image = image(
        &["start", "middle", "leaf"],
        &[0x55, 0x31, 0xc0, 0x48, 0x89, 0xe5],
    );
    assert!(image.frame_pointers());
    let stack = bytes(&[0x1010, address(1, 32), 0x1020, address(0, 32)]);
    let mut unwinder = Unwinder::of_parts(image, None);
    for (ip, sp, bp) in [
        (address(2, 0), 0x1008, 0x1010),
        (address(2, 3), 0x1000, 0x1010),
        (address(2, 9), 0x1000, 0x1000),
    ] {
        let stack = Stack::new(0x1000, &stack);
        let (chain, how) = unwinder.callers(Registers { ip, sp, bp }, stack);
        assert_eq!(
            (chain, how),
            (vec![address(1, 32), address(0, 32)], How::FramePointers)
        );
    }
}

#[test]
fn times_go_both_ways_from_the_first_reading() {
    let scale = Scale {
        first: Tick { tsc: 1000, us: 1.0 },
        last: Tick { tsc: 3000, us: 2.0 },
    };
    assert!((scale.us(2000) - 1.5).abs() < 1e-9);
    assert!((scale.us(0) - 0.5).abs() < 1e-9);
}

const SCALE: Scale = Scale {
    first: Tick { tsc: 0, us: 0.0 },
    last: Tick { tsc: 1000, us: 1.0 },
};

/// A guest whose trace buffer, at 1 MiB, holds these bytes.
fn with_buffer(buffer: &[u8]) -> (GuestMemory, Symbols) {
    let memory = GuestMemory::new(8, Pages::Small).unwrap();
    memory.write(1 << 20, buffer).unwrap();
    let symbols = Symbols::of([("boot_trace_buffer", KERNEL_MAP + (1 << 20))]);
    (memory, symbols)
}

fn header(capacity: u32, count: u32) -> Vec<u8> {
    let version = abi::BOOT_TRACE_VERSION | 24 << 16;
    [abi::BOOT_TRACE_MAGIC, version, capacity, count]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

#[test]
fn stamps_are_read_as_the_kernel_wrote_them() {
    let mut buffer = header(3, 5);
    for (tsc, label, kind) in [
        (1000_u64, KERNEL_MAP + 4096, 0_u64),
        (2000, 77, 1),
        (0, 77, 2),
    ] {
        buffer.extend(bytes(&[tsc, label, kind]));
    }
    let (memory, symbols) = with_buffer(&buffer);
    memory.write(4096, b"setup\x1barch\0").unwrap();
    let (stamps, lost) = stamps::read(&memory, &symbols, SCALE);
    assert_eq!(lost, 2);
    let seen: Vec<_> = stamps
        .iter()
        .map(|stamp| (stamp.us, stamp.name.as_str(), stamp.address))
        .collect();
    assert_eq!(seen, [(1.0, "setup?arch", 0), (2.0, "", 77)]);
}

proptest! {
    #[test]
    fn no_stack_makes_the_unwinders_panic(
        offsets in prop::collection::vec(0_u64..400, 0..200), ip in 0_u64..400, sp: u64, bp: u64, framed: bool,
    ) {
        let prologue: &[u8] = if framed { &[0x55, 0x48, 0x89, 0xe5] } else { &[] };
        let image = image(&["a", "b.cold", "b", "c"], prologue);
        let stack = bytes(&offsets.iter().map(|offset| CODE + offset).collect::<Vec<_>>());
        let (chain, _) = Unwinder::of_parts(image, None).callers(Registers { ip: CODE + ip, sp, bp }, Stack::new(sp, &stack));
        prop_assert!(chain.len() <= MAX_FRAMES);
    }

    #[test]
    fn no_orc_tables_lead_astray(
        entries in prop::collection::vec((0_u64..300, any::<[u8; 6]>()), 0..20), words: Vec<u64>,
        offsets in prop::collection::vec(0_u64..300, 0..64), ip in 0_u64..300, sp in 0_u64..1 << 48, bp: u64,
    ) {
        let image = image(&["a", "b", "c", "d"], &[]);
        let mut entries: Vec<_> = entries.into_iter().map(|(at, entry)| (CODE + at, entry)).collect();
        entries.sort();
        let words: Vec<u64> = offsets.iter().map(|offset| CODE + offset).chain(words).collect();
        let start = Registers { ip: CODE + ip, sp, bp };
        let (chain, _) = Orc::of(&entries).walk(&image, start, Stack::new(sp, &bytes(&words)));
        prop_assert!(chain.len() <= MAX_FRAMES);
    }

    #[test]
    fn no_trace_buffer_makes_the_reader_panic(capacity: u32, count: u32, noise: Vec<u8>) {
        let mut buffer = header(capacity, count);
        buffer.extend(noise);
        let (memory, symbols) = with_buffer(&buffer);
        let (stamps, _) = stamps::read(&memory, &symbols, SCALE);
        prop_assert!(stamps.len() <= capacity.min(count) as usize);
    }

    #[test]
    fn no_file_makes_the_image_panic(noise in prop::collection::vec(any::<u8>(), 0..512)) {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.extend(noise);
        prop_assert!(!Image::parse(&file).has_symbols());
    }
}
