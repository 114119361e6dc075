//! The two formats of an XSAVE area, without the memory that it is in.
//!
//! Source: Intel SDM volume 1, sections 13.4 (the area), 13.7 (XSAVE), 13.8 (XRSTOR), 13.10 (XSAVEC).

use crate::base::bytes::{u32_at, u64_at};
use crate::software::state::{Component, HEADER_END, LEGACY, MXCSR, State};
use std::ops::Range;

/// Of XSAVES and XRSTORS.
pub(super) const SUPERVISOR_ALONE: bool = true;

/// Components 0 to 2: the x87 state, MXCSR with the XMM registers, the upper halves of the YMM registers. The first two
/// are in the legacy area.
pub(super) const X87: u64 = 1;
pub(super) const SSE: u64 = 2;
pub(super) const AVX: u64 = 4;

/// Parts of the legacy area: what follows MXCSR and its mask, and the XMM registers. What follows those is software's.
const X87_REST: usize = 32;
const XMM: Range<usize> = 160..416;
/// FIP and FDP: 64 bits each with REX.W, else 32 bits and a selector that reads as 0.
const POINTERS: [usize; 2] = [8, 16];

/// MXCSR after a reset.
const MXCSR_INITIAL: u32 = 0x1f80;

/// Bit 63 of XCOMP_BV: the area is compacted.
const COMPACTED: u64 = 1 << 63;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Standard,
    Compacted,
}

/// The extended components in `bits`: each one's number, place in the standard format, and offset in `format`.
fn components(bits: u64, format: Format) -> Vec<(u32, Range<usize>, usize)> {
    let mut end = HEADER_END;
    let mut components = Vec::new();
    for number in (2..63).filter(|number| bits >> number & 1 == 1) {
        let Some(Component { range, aligned }) = Component::of(number) else {
            continue;
        };
        if aligned {
            end = end.next_multiple_of(64);
        }
        let at = match format {
            Format::Standard => range.start,
            Format::Compacted => end,
        };
        end += range.len();
        components.push((number, range, at));
    }
    components
}

/// What an instruction writes.
pub(super) struct Save {
    pieces: Vec<(usize, Vec<u8>)>,
    /// XSTATE_BV, and which of its bits are written.
    in_use: u64,
    bits: u64,
}

impl Save {
    /// The state in `bits`; `wide` is REX.W.
    pub(super) fn new(state: &State, bits: u64, format: Format, wide: bool) -> Self {
        let mut in_use = state.in_use() & bits;
        let mut written = bits;
        if format == Format::Compacted {
            // MXCSR is a part of its component, and what is in its initial state is not written.
            if state.mxcsr() != MXCSR_INITIAL {
                in_use |= bits & SSE;
            }
            written = in_use;
        }
        let mut save = Save {
            pieces: Vec::new(),
            in_use,
            bits,
        };
        save.legacy(state, written, format, wide);
        let mut header = in_use.to_le_bytes().to_vec();
        if format == Format::Compacted {
            header.extend((COMPACTED | bits).to_le_bytes());
            // Nothing of the old header is kept.
            save.bits = u64::MAX;
        }
        save.pieces.push((LEGACY, header));
        for (number, range, at) in components(bits, format) {
            if written >> number & 1 == 1 {
                save.pieces.push((at, state.0[range].to_vec()));
            }
        }
        save
    }

    fn legacy(&mut self, state: &State, written: u64, format: Format, wide: bool) {
        let piece = |range: Range<usize>| (range.start, state.0[range].to_vec());
        let mxcsr = match format {
            Format::Standard => SSE | AVX,
            Format::Compacted => SSE,
        };
        if written & X87 != 0 {
            let (at, mut bytes) = piece(0..MXCSR);
            if !wide {
                for pointer in POINTERS {
                    bytes[pointer + 4..pointer + 8].fill(0);
                }
            }
            self.pieces.push((at, bytes));
        }
        if written & mxcsr != 0 {
            self.pieces.push(piece(MXCSR..X87_REST));
        }
        if written & X87 != 0 {
            self.pieces.push(piece(X87_REST..XMM.start));
        }
        if written & SSE != 0 {
            self.pieces.push(piece(XMM));
        }
    }

    /// Where it writes.
    pub(super) fn ranges(&self) -> Vec<Range<usize>> {
        let pieces = self.pieces.iter();
        pieces.map(|(at, bytes)| *at..at + bytes.len()).collect()
    }

    /// Takes over the bits of the old XSTATE_BV that the instruction does not write.
    pub(super) fn keep(&mut self, old: u64) {
        let in_use = old & !self.bits | self.in_use;
        if let Some((_, header)) = self.pieces.iter_mut().find(|(at, _)| *at == LEGACY) {
            header[..8].copy_from_slice(&in_use.to_le_bytes());
        }
    }

    /// What it writes, by offsets.
    pub(super) fn pieces(&self) -> &[(usize, Vec<u8>)] {
        &self.pieces
    }
}

/// What an instruction reads, which is valid.
#[derive(Debug)]
pub(super) struct Restore {
    /// The components asked for.
    bits: u64,
    /// XSTATE_BV.
    in_use: u64,
    /// XCOMP_BV.
    compaction: u64,
    /// MXCSR, if it is loaded.
    mxcsr: Option<u32>,
}

impl Restore {
    /// Looks at legacy area and header; `None` for what raises #GP.
    pub(super) fn check(
        saved: &[u8; HEADER_END],
        xcr0: u64,
        mxcsr_mask: u32,
        bits: u64,
    ) -> Option<Self> {
        let header = |at: usize| u64_at(saved, LEGACY + at);
        let mut restore = Restore {
            bits,
            in_use: header(0)?,
            compaction: header(8)?,
            mxcsr: None,
        };
        let enabled = match restore.is_compacted() {
            true => restore.compaction & !COMPACTED,
            false => xcr0,
        };
        let zeros = if restore.is_compacted() {
            16..64
        } else {
            8..24
        };
        let reserved = &saved[LEGACY + zeros.start..LEGACY + zeros.end];
        if restore.in_use & !enabled != 0
            || enabled & !xcr0 != 0
            || reserved.iter().any(|byte| *byte != 0)
        {
            return None;
        }
        let mxcsr = u32_at(saved, MXCSR)?;
        restore.mxcsr = if restore.loads_mxcsr() {
            Some(mxcsr).filter(|mxcsr| mxcsr & !mxcsr_mask == 0)?.into()
        } else if restore.is_compacted() && bits & SSE != 0 {
            Some(MXCSR_INITIAL)
        } else {
            None
        };
        Some(restore)
    }

    pub(super) fn is_compacted(&self) -> bool {
        self.compaction & COMPACTED != 0
    }

    /// The standard format has MXCSR whatever XSTATE_BV says.
    fn loads_mxcsr(&self) -> bool {
        match self.is_compacted() {
            true => self.bits & self.in_use & SSE != 0,
            false => self.bits & (SSE | AVX) != 0,
        }
    }

    /// Loads what the legacy area has.
    pub(super) fn legacy(&self, saved: &[u8; HEADER_END], wide: bool, state: &mut State) {
        let loaded = self.bits & self.in_use;
        let mut load = |range: Range<usize>| state.0[range.clone()].copy_from_slice(&saved[range]);
        if loaded & X87 != 0 {
            load(0..MXCSR);
            load(X87_REST..XMM.start);
        }
        if loaded & SSE != 0 {
            load(XMM);
        }
        if loaded & X87 != 0 && !wide {
            for pointer in POINTERS {
                state.0[pointer + 4..pointer + 8].fill(0);
            }
        }
        if let Some(mxcsr) = self.mxcsr {
            state.0[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
        }
    }

    /// The extended components that are loaded: each one's offset in the area, and where it goes.
    pub(super) fn components<'a>(&self, state: &'a mut State) -> Vec<(usize, &'a mut [u8])> {
        let (layout, format) = match self.is_compacted() {
            true => (self.compaction, Format::Compacted),
            false => (self.bits, Format::Standard),
        };
        let loaded = self.bits & self.in_use;
        let mut list = components(layout, format);
        list.retain(|(number, ..)| loaded >> number & 1 == 1);
        list.sort_by_key(|(_, range, _)| range.start);
        let (mut rest, mut passed) = (&mut state.0[..], 0);
        let mut places = Vec::new();
        for (_, range, at) in list {
            let (_, behind) = rest.split_at_mut(range.start - passed);
            let (place, behind) = behind.split_at_mut(range.len());
            (rest, passed) = (behind, range.end);
            places.push((at, place));
        }
        places
    }

    /// Marks what is loaded as in use, and what is asked for and not there as initial.
    pub(super) fn finish(&self, state: &mut State) {
        let mut in_use = state.in_use() & !self.bits | self.in_use & self.bits;
        // KVM takes MXCSR only with one of the components in use.
        if state.mxcsr() != MXCSR_INITIAL && in_use & SSE == 0 {
            state.0[XMM].fill(0);
            in_use |= SSE;
        }
        state.set_in_use(in_use);
    }
}
