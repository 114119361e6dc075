//! Frame pointers: RBP points to the caller's RBP, with the return address above it.

use super::scan;
use super::stack::{MAX_FRAMES, Registers, Stack};
use crate::base::cast::to_usize;
use crate::trace::image::Image;

/// The callers, innermost first.
#[must_use]
pub(super) fn walk(image: &Image, start: Registers, stack: Stack<'_>) -> Vec<u64> {
    let mut chain = Vec::new();
    chain.extend(before_the_frame(image, start, stack));
    let mut bp = start.bp;
    while chain.len() < MAX_FRAMES {
        let (Some(next), Some(address)) = (stack.word(bp), stack.word(bp.wrapping_add(8))) else {
            break;
        };
        let address = image.linked(address);
        if !scan::is_return_address(image, address) {
            break;
        }
        chain.push(address);
        // Each frame lies above the one before; anything else is damage or the end of the stack.
        if next <= bp {
            break;
        }
        bp = next;
    }
    chain
}

/// The return address of a function that has not set up its frame yet.
fn before_the_frame(image: &Image, start: Registers, stack: Stack<'_>) -> Option<u64> {
    let (begin, _) = image.function(start.ip)?;
    let done = to_usize(start.ip - begin);
    let (push, set) = image.prologue(begin)?;
    if done > set {
        return None;
    }
    let at = start.sp.wrapping_add(if done > push { 8 } else { 0 });
    let address = image.linked(stack.word(at)?);
    scan::is_return_address(image, address).then_some(address)
}
