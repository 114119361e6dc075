//! A call chain from nothing but the stack's words: those that are return addresses, and of these the ones that fit
//! together.
//!
//! A word is taken for a return address when a call instruction precedes it. Old calls leave such words behind, so
//! the chain is chosen in which most direct calls go to the very function that is called next in the chain.

use super::stack::{MAX_FRAMES, Stack};
use crate::trace::image::Image;
use std::collections::HashMap;
use std::rc::Rc;

/// Words that are considered. A kernel stack has some 10 to 40.
const MAX_CANDIDATES: usize = 128;

/// Words that are remembered; a boot has some thousands.
const MAX_KNOWN: usize = 1 << 16;

/// What a link of a chain is worth: a call of the function; of one that ends in a jump to it; of an unknown function; of
/// another function, which no number of links behind it that fit should make up for.
const DIRECT: i32 = 4;
const TAIL: i32 = 3;
const INDIRECT: i32 = 0;
const MISMATCH: i32 = -16;

/// How many functions may have jumped to each other.
const MAX_JUMPS: u32 = 3;

/// How many functions are followed from one call.
const MAX_REACHED: usize = 32;

/// Where a call goes.
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
    /// Where its function begins.
    function: u64,
    /// Whether its function is where an interrupt or exception enters.
    entry: bool,
    /// Functions that the one called ends in a jump to.
    reached: Vec<u64>,
}

/// What is known of the words seen so far: the same return addresses lie on most stacks.
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
        // Most words of a stack are no code at all: they are not worth remembering.
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

/// Whether this is an address that a call returns to.
#[must_use]
pub(crate) fn is_return_address(image: &Image, address: u64) -> bool {
    target(image, address).is_some()
}

fn candidate(image: &Image, address: u64) -> Option<Candidate> {
    let target = target(image, address)?;
    // The call may be its function's last instruction, so the function is that of the byte before.
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

/// Collects the functions that this one ends in a jump to, by way of others too.
fn follow(image: &Image, from: u64, depth: u32, reached: &mut Vec<u64>) {
    for next in image.jumps_from(from) {
        if depth > 0 && reached.len() < MAX_REACHED && !reached.contains(&next) {
            reached.push(next);
            follow(image, next, depth - 1, reached);
        }
    }
}

/// The start of a function; of its hot part, for what the compiler split off as cold. 0 if it is not known.
fn function(image: &Image, address: u64) -> u64 {
    let Some((start, name)) = image.function(address) else {
        return 0;
    };
    match name.split_once(".cold") {
        Some((hot, _)) => image.address(hot).unwrap_or(start),
        None => start,
    }
}

/// Where the call in front of an address goes; `None` if there is no call.
fn target(image: &Image, address: u64) -> Option<Target> {
    let bytes = image.before::<7>(address)?;
    let tail = |count: usize| bytes.get(bytes.len().checked_sub(count)?..);
    if let Some([0xe8, offset @ ..]) = tail(5) {
        let offset = i32::from_le_bytes(offset.try_into().ok()?);
        let to = address.wrapping_add_signed(i64::from(offset));
        if image.code(to).is_some() {
            // A call of a thunk is an indirect call in disguise.
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
    // ff /2, by the length that its ModRM byte asks for (AMD64 manual, volume 3, chapter 1.4).
    let indirect = (2..=7).any(|count| match tail(count) {
        Some([0xff, modrm, rest @ ..]) => {
            modrm >> 3 & 7 == 2 && operand(*modrm, rest) == rest.len()
        }
        _ => false,
    });
    indirect.then_some(Target::Unknown)
}

/// Bytes of SIB and displacement.
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

/// What it is worth that this candidate calls that function, which may be an entry.
fn worth(candidate: &Candidate, callee: u64, entry: bool) -> i32 {
    match candidate.target {
        Target::Known(to) if to == callee => DIRECT,
        Target::Unknown => INDIRECT,
        // The processor went there by itself, from any code.
        Target::Known(_) if entry => INDIRECT,
        Target::Known(_) if candidate.reached.contains(&callee) => TAIL,
        Target::Known(_) => MISMATCH,
    }
}

/// Whether an interrupt or exception enters here.
fn is_entry(image: &Image, function: u64) -> bool {
    image
        .function(function)
        .is_none_or(|(_, name)| name.starts_with("asm_") || name.starts_with("common_interrupt"))
}

/// The indices of the best chain, by dynamic programming from the stack's far end.
fn chain(first: u64, entry: bool, candidates: &[Rc<Candidate>]) -> Vec<usize> {
    let count = candidates.len();
    // For each candidate: the worth of the best chain behind it, and that chain's first member.
    let mut best: Vec<(i32, Option<usize>)> = vec![(0, None); count];
    let after = |from: usize, callee: u64, entry: bool, best: &[(i32, Option<usize>)]| {
        let mut found = (0, None);
        for next in from..count {
            let score = worth(&candidates[next], callee, entry) + best[next].0;
            // The nearest of equals; a chain that ends is worth 0, and a longer one is preferred to it.
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
