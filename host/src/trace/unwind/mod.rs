//! From registers and a stack to a call chain. Both are the guest's to forge: every walk is bounded.

pub mod frames;
pub mod orc;
pub mod scan;

use crate::trace::image::Image;
use crate::trace::raw::How;
use scan::Scanner;

/// The longest chain that is kept.
pub const MAX_FRAMES: usize = 64;

/// Bytes of stack that are looked at.
pub const STACK: usize = 8 << 10;

/// Registers that a walk starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// RIP, at its link address.
    pub ip: u64,
    /// RSP: the address of the stack's first byte.
    pub sp: u64,
    /// RBP.
    pub bp: u64,
}

/// A copy of the stack from RSP upwards.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    base: u64,
    bytes: &'a [u8],
}

impl<'a> Stack<'a> {
    /// A stack whose first byte is at `base`.
    #[must_use]
    pub fn new(base: u64, bytes: &'a [u8]) -> Self {
        Stack { base, bytes }
    }

    /// The word at an address.
    #[must_use]
    pub fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.base)?).ok()?;
        let word = self.bytes.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(word.try_into().ok()?))
    }

    /// All aligned words, in order.
    pub fn words(&self) -> impl Iterator<Item = u64> + use<'a> {
        let skip = (self.base.wrapping_neg() & 7) as usize;
        let words = self
            .bytes
            .get(skip..)
            .unwrap_or_default()
            .as_chunks::<8>()
            .0;
        words.iter().map(|word| u64::from_le_bytes(*word))
    }
}

/// Finds call chains in one kernel, and gets quicker at it.
#[derive(Debug, Default)]
pub struct Unwinder {
    image: Image,
    scanner: Scanner,
}

impl Unwinder {
    /// For this kernel.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Unwinder {
            image,
            scanner: Scanner::default(),
        }
    }

    /// The kernel.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The callers, innermost first, each as its return address at its link address.
    #[must_use]
    pub fn callers(&mut self, start: Start, stack: Stack<'_>) -> (Vec<u64>, How) {
        let image = &self.image;
        if image.frame_pointers() {
            return (frames::walk(image, start, stack), How::FramePointers);
        }
        if let Some(orc) = image.orc() {
            let (chain, complete) = orc.walk(image, start, stack);
            if complete || !chain.is_empty() {
                return (chain, How::Orc);
            }
        }
        (self.scanner.walk(image, start.ip, stack), How::Scan)
    }
}
