//! Both formats against the processor that the tests run on, and what it would refuse.
//!
//! unsafe lives here because the processor's own instructions are asked.
#![allow(unsafe_code)]

use super::format::{AVX, Format, Restore, SSE, Save, X87};
use crate::base::cast::low32;
use crate::software::state::{AREA, HEADER_END, LEGACY, MXCSR, State};
use proptest::prelude::*;
use std::arch::asm;
use std::fmt;

/// The components that are compared: those that every processor with AVX has, and that a test may change for a moment.
const ALL: u64 = X87 | SSE | AVX;

#[repr(align(64))]
#[derive(Clone, PartialEq)]
struct Area([u8; AREA]);

/// Too long to be shown whole: what differs is.
impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header {:02x?}", &self.0[LEGACY..LEGACY + 16])
    }
}

impl Area {
    const EMPTY: Self = Area([0; AREA]);

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Loads `first`, runs one instruction on `area` with the mask `bits`, and returns the state after it.
macro_rules! between {
    ($instruction:literal, $first:expr, $area:expr, $bits:expr) => {{
        let (mut own, mut after) = (Area::EMPTY, Area::EMPTY);
        // SAFETY: the areas are aligned and valid, and the test's own state is there again at the end.
        unsafe {
            asm!(
                "mov eax, 7", "xor edx, edx", "xsave64 [{own}]", "xrstor64 [{first}]",
                "mov eax, {bits:e}", concat!($instruction, " [{area}]"),
                "mov eax, 7", "xsave64 [{after}]", "xrstor64 [{own}]",
                own = in(reg) &raw mut own, first = in(reg) &raw const *$first,
                area = in(reg) &raw mut *$area, after = in(reg) &raw mut after,
                bits = in(reg) $bits, out("rax") _, out("rdx") _,
            );
        }
        after
    }};
}

/// A state that the processor has: random registers, some components initial. What it keeps of them is what counts.
fn states() -> impl Strategy<Value = Area> {
    let bytes = prop::collection::vec(any::<u8>(), AREA);
    (bytes, 0..=ALL, 0..0x1_0000_u32).prop_map(|(bytes, in_use, mxcsr)| {
        let mut area = Area::EMPTY;
        area.put(32, &bytes[32..416]);
        // All exceptions masked: none is pending. TOP and tags are free.
        area.put(0, &[0x7f, 3, 0, bytes[3] & 0x38, bytes[4]]);
        area.put(MXCSR, &(mxcsr & 0xffbf).to_le_bytes());
        area.put(HEADER_END, &bytes[HEADER_END..HEADER_END + 256]);
        area.put(LEGACY, &in_use.to_le_bytes());
        let mut nothing = Area::EMPTY;
        between!("xsave64", &area, &mut nothing, 0_u32)
    })
}

fn has_xsavec() -> bool {
    std::is_x86_feature_detected!("xsavec") && std::is_x86_feature_detected!("avx")
}

fn saved(state: &Area, bits: u64, format: Format, wide: bool, into: &mut Area) {
    let mut save = Save::new(&State(state.0), bits, format, wide);
    let mut old = [0; 8];
    old.copy_from_slice(&into.0[LEGACY..LEGACY + 8]);
    save.keep(u64::from_le_bytes(old));
    for (at, bytes) in save.pieces() {
        into.put(*at, bytes);
    }
}

/// What KVM makes of a state: what is not in use is initial.
fn settled(state: &State) -> Area {
    let mut area = Area(state.0);
    let initial = |bit| state.in_use() & bit == 0;
    if initial(X87) {
        area.0[..MXCSR].fill(0);
        area.0[32..160].fill(0);
        area.put(0, &[0x7f, 3]);
    }
    if initial(SSE) {
        area.0[160..416].fill(0);
    }
    if initial(AVX) {
        area.0[HEADER_END..HEADER_END + 256].fill(0);
    }
    if state.in_use() & ALL == 0 {
        // KVM loads none of the legacy area then.
        area.put(MXCSR, &0x1f80_u32.to_le_bytes());
    }
    area.0[LEGACY..HEADER_END].fill(0);
    area
}

/// Differences, by offset.
fn differing(ours: &Area, its: &Area) -> Vec<(usize, u8, u8)> {
    let pairs = ours.0.iter().zip(&its.0).enumerate();
    let different = pairs.filter(|(_, (a, b))| a != b);
    different.map(|(at, (a, b))| (at, *a, *b)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn areas_are_those_that_the_processor_writes(state in states(), bits in 0..=ALL, old in 0..=ALL) {
        if !has_xsavec() {
            return Ok(());
        }
        let mask = low32(bits);
        let mut blank = Area([0xaa; AREA]);
        blank.put(LEGACY, &old.to_le_bytes());
        let [mut its, mut ours] = [blank.clone(), blank.clone()];
        between!("xsave64", &state, &mut its, mask);
        saved(&state, bits, Format::Standard, true, &mut ours);
        prop_assert_eq!(differing(&ours, &its), []);
        let [mut its, mut ours] = [blank.clone(), blank.clone()];
        between!("xsave", &state, &mut its, mask);
        saved(&state, bits, Format::Standard, false, &mut ours);
        prop_assert_eq!(differing(&ours, &its), []);
        let [mut its, mut ours] = [blank.clone(), blank];
        between!("xsavec64", &state, &mut its, mask);
        saved(&state, bits, Format::Compacted, true, &mut ours);
        prop_assert_eq!(differing(&ours, &its), []);
    }

    #[test]
    fn states_are_those_that_the_processor_reads(
        before in states(), source in states(), layout in 0..=ALL, bits in 0..=ALL, compacted: bool
    ) {
        if !has_xsavec() {
            return Ok(());
        }
        let format = if compacted { Format::Compacted } else { Format::Standard };
        let mut area = Area::EMPTY;
        saved(&source, layout, format, true, &mut area);
        let its = between!("xrstor64", &before, &mut area, low32(bits));
        let mut state = State(before.0);
        let header: &[u8; HEADER_END] = area.0.first_chunk().unwrap();
        let restore = Restore::check(header, ALL, 0xffbf, bits).unwrap();
        restore.legacy(header, true, &mut state);
        for (at, into) in restore.components(&mut state) {
            let len = into.len();
            into.copy_from_slice(&area.0[at..at + len]);
        }
        restore.finish(&mut state);
        let mut its = its;
        its.0[LEGACY..HEADER_END].fill(0);
        prop_assert_eq!(differing(&settled(&state), &its), []);
    }
}

#[test]
fn what_the_processor_refuses_is_refused() {
    const COMPACTED: u64 = 1 << 63;
    let check = |in_use: u64, compaction: u64, more: (usize, u8), bits: u64| {
        let mut saved = [0; HEADER_END];
        saved[LEGACY..LEGACY + 8].copy_from_slice(&in_use.to_le_bytes());
        saved[LEGACY + 8..LEGACY + 16].copy_from_slice(&compaction.to_le_bytes());
        saved[more.0] |= more.1;
        Restore::check(&saved, ALL, 0xffbf, bits).is_some()
    };
    let no = (0, 0);
    // MXCSR's bit 6 is DAZ, which this mask does not have; bit 16 never is one.
    let (daz, reserved) = ((MXCSR, 0x40), (MXCSR + 2, 1));
    for (in_use, compaction, more, bits, valid) in [
        (3, 0, no, ALL, true),
        (8, 0, no, ALL, false),
        (3, 1, no, ALL, false),
        (3, 0, (LEGACY + 16, 1), ALL, false),
        (3, 0, (LEGACY + 24, 1), ALL, true),
        (0, 0, reserved, ALL, false),
        (0, 0, daz, AVX, false),
        (3, 0, reserved, X87, true),
        (3, COMPACTED | 3, no, ALL, true),
        (3, COMPACTED | 1, no, ALL, false),
        (3, COMPACTED | 11, no, ALL, false),
        (3, COMPACTED | 3, (LEGACY + 63, 1), ALL, false),
        (3, COMPACTED | 3, reserved, ALL, false),
        (1, COMPACTED | 3, reserved, ALL, true),
        (3, COMPACTED | 3, reserved, AVX, true),
    ] {
        let found = check(in_use, compaction, more, bits);
        assert_eq!(
            found, valid,
            "{in_use:#x} {compaction:#x} {more:?} {bits:#x}"
        );
    }
}
