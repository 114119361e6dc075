//! Finds a call chain from the words on the stack alone, for kernels with neither frame pointers nor ORC tables.
//!
//! A word counts as a return address if a call instruction precedes the address. Finished calls leave stale return
//! addresses behind, so the scanner prefers the chain in which most direct calls target the next function in the chain.

use super::stack::{MAX_FRAMES, Stack};
use crate::trace::image::Image;
use std::collections::HashMap;
use std::rc::Rc;

/// The most return addresses considered per stack. A kernel stack has some 10 to 40.
const MAX_CANDIDATES: usize = 128;

/// The most return addresses cached. A boot has a few thousand.
const MAX_KNOWN: usize = 1 << 16;

/// Scores of a link between two frames, by what the outer one calls: the inner function (direct), a function that tail-calls
/// it, an unknown function (indirect), or a different function. A mismatch costs more than the links that fit can make up.
const DIRECT: i32 = 4;
const TAIL: i32 = 3;
const INDIRECT: i32 = 0;
const MISMATCH: i32 = -16;

/// The most tail calls followed in a row.
const MAX_JUMPS: u32 = 3;

/// The most functions followed from one call.
const MAX_REACHED: usize = 32;

/// A call's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Known(u64),
    Unknown,
}

/// A return address.
#[derive(Debug)]
struct Candidate {
    address: u64,
    target: Target,
    /// Start address of the function that contains it.
    function: u64,
    /// Whether that function is the entry point of an interrupt or exception.
    entry: bool,
    /// Functions that the called one reaches by tail calls.
    reached: Vec<u64>,
}

/// Caches the return addresses seen so far, because most stacks share them.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    known: HashMap<u64, Option<Rc<Candidate>>>,
}

impl Scanner {
    /// The callers of the function at `ip`, innermost first.
    #[must_use]
    pub(crate) fn walk(&mut self, image: &Image, ip: u64, stack: Stack<'_>) -> Vec<u64> {
        let candidates: Vec<_> = stack
            .words()
            .filter_map(|word| self.candidate(image, word))
            .take(MAX_CANDIDATES)
            .collect();
        let first = function(image, ip);
        let best = chain(first, is_entry(image, first), &candidates);
        best.into_iter()
            .take(MAX_FRAMES)
            .map(|index| candidates[index].address)
            .collect()
    }

    fn candidate(&mut self, image: &Image, word: u64) -> Option<Rc<Candidate>> {
        let address = image.linked(word);
        // Most words on a stack are not code addresses, and not worth caching.
        image.code(address.wrapping_sub(1))?;
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known
            .entry(address)
            .or_insert_with(|| candidate(image, address).map(Rc::new))
            .clone()
    }
}

/// Whether a call instruction precedes this address.
#[must_use]
pub(crate) fn is_return_address(image: &Image, address: u64) -> bool {
    target(image, address).is_some()
}

fn candidate(image: &Image, address: u64) -> Option<Candidate> {
    let target = target(image, address)?;
    // The call may be its function's last instruction, so look up the byte before the return address.
    let function = function(image, address - 1);
    let mut reached = Vec::new();
    if let Target::Known(to) = target {
        follow(image, to, MAX_JUMPS, &mut reached);
    }
    Some(Candidate {
        address,
        target,
        function,
        entry: is_entry(image, function),
        reached,
    })
}

/// Collects the functions that this one tail-calls, directly or through others.
fn follow(image: &Image, from: u64, depth: u32, reached: &mut Vec<u64>) {
    for next in image.jumps_from(from) {
        if depth > 0 && reached.len() < MAX_REACHED && !reached.contains(&next) {
            reached.push(next);
            follow(image, next, depth - 1, reached);
        }
    }
}

/// The start of the function at `address`, or of its hot part if the compiler split off a cold one. 0 if unknown.
fn function(image: &Image, address: u64) -> u64 {
    let Some((start, name)) = image.function(address) else {
        return 0;
    };
    match name.split_once(".cold") {
        Some((hot, _)) => image.address(hot).unwrap_or(start),
        None => start,
    }
}

/// The target of the call instruction before `address`; `None` if there is none.
fn target(image: &Image, address: u64) -> Option<Target> {
    let bytes = image.before::<7>(address)?;
    let tail = |count: usize| bytes.get(bytes.len().checked_sub(count)?..);
    if let Some([0xe8, offset @ ..]) = tail(5) {
        let offset = i32::from_le_bytes(offset.try_into().ok()?);
        let to = address.wrapping_add_signed(i64::from(offset));
        if image.code(to).is_some() {
            // A retpoline thunk makes an indirect call.
            let thunk = image
                .function(to)
                .is_some_and(|(_, name)| name.starts_with("__x86_indirect"));
            return Some(if thunk {
                Target::Unknown
            } else {
                Target::Known(to)
            });
        }
    }
    // ff /2, with the length that its ModRM byte implies (AMD64 manual, volume 3, chapter 1.4).
    let indirect = (2..=7).any(|count| match tail(count) {
        Some([0xff, modrm, rest @ ..]) => {
            modrm >> 3 & 7 == 2 && operand(*modrm, rest) == rest.len()
        }
        _ => false,
    });
    indirect.then_some(Target::Unknown)
}

/// Length in bytes of SIB and displacement.
fn operand(modrm: u8, rest: &[u8]) -> usize {
    let (mode, rm) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return 0;
    }
    let sib = usize::from(rm == 4);
    let base_only = sib == 1 && rest.first().is_some_and(|sib| sib & 7 == 5);
    let displacement = match mode {
        0 if rm == 5 || base_only => 4,
        0 => 0,
        1 => 1,
        _ => 4,
    };
    sib + displacement
}

/// The score of `candidate` as the caller of `callee`; `entry` says whether that is an interrupt or exception entry.
fn worth(candidate: &Candidate, callee: u64, entry: bool) -> i32 {
    match candidate.target {
        Target::Known(to) if to == callee => DIRECT,
        Target::Unknown => INDIRECT,
        // The processor enters it from any code, without a call.
        Target::Known(_) if entry => INDIRECT,
        Target::Known(_) if candidate.reached.contains(&callee) => TAIL,
        Target::Known(_) => MISMATCH,
    }
}

/// Whether `function` is the entry point of an interrupt or exception.
fn is_entry(image: &Image, function: u64) -> bool {
    image
        .function(function)
        .is_none_or(|(_, name)| name.starts_with("asm_") || name.starts_with("common_interrupt"))
}

/// Indices of the chain with the best score, by dynamic programming from the outermost frame.
fn chain(first: u64, entry: bool, candidates: &[Rc<Candidate>]) -> Vec<usize> {
    let count = candidates.len();
    // For each candidate: the score of the best chain of its callers, and the first of them.
    let mut best: Vec<(i32, Option<usize>)> = vec![(0, None); count];
    let after = |from: usize, callee: u64, entry: bool, best: &[(i32, Option<usize>)]| {
        let mut found = (0, None);
        for next in from..count {
            let score = worth(&candidates[next], callee, entry) + best[next].0;
            // The nearest wins among equals. An ended chain scores 0, and a longer one with that score is preferred.
            if score > found.0 || (score == found.0 && found.1.is_none()) {
                found = (score, Some(next));
            }
        }
        found
    };
    for (index, candidate) in candidates.iter().enumerate().rev() {
        best[index] = after(index + 1, candidate.function, candidate.entry, &best);
    }
    let mut chain = Vec::new();
    let mut next = after(0, first, entry, &best).1;
    while let Some(index) = next {
        chain.push(index);
        next = best[index].1;
    }
    chain
}
