//! What an unwinder starts from: registers and a copy of the stack.

use crate::base::bytes::u64_at;
use crate::base::cast::to_usize;

/// The longest call chain, in frames.
pub(crate) const MAX_FRAMES: usize = 64;

/// The most stack copied, in bytes.
pub(crate) const STACK: usize = 8 << 10;

/// The registers that unwinding needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// RIP, at its link address.
    pub ip: u64,
    /// RSP: the lowest address in use on the stack.
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
        u64_at(self.bytes, at)
    }

    /// All aligned words, in order.
    pub fn words(&self) -> impl Iterator<Item = u64> + use<'a> {
        let skip = to_usize(self.base.wrapping_neg() & 7);
        let words = self
            .bytes
            .get(skip..)
            .unwrap_or_default()
            .as_chunks::<8>()
            .0;
        words.iter().map(|word| u64::from_le_bytes(*word))
    }
}
