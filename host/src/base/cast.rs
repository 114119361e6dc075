//! Integer conversions that `From` does not offer: each narrowing stands here once, with the reason why it is right.

const _: () = assert!(usize::BITS == u64::BITS, "jiffy runs on x86-64 only");

/// A 64-bit length or offset as `usize`, which has as many bits here.
#[expect(
    clippy::cast_possible_truncation,
    reason = "usize has 64 bits, as asserted above"
)]
pub(crate) const fn to_usize(value: u64) -> usize {
    value as usize
}

/// A length or count of which the caller knows that it fits in 32 bits; a larger one becomes `u32::MAX`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "compared with u32::MAX first"
)]
pub(crate) const fn to_u32(value: usize) -> u32 {
    if value > u32::MAX as usize {
        u32::MAX
    } else {
        value as u32
    }
}

/// Bits 0 to 31, as a register of 32 bits has them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the upper half is to be left out"
)]
pub(crate) const fn low32(value: u64) -> u32 {
    value as u32
}

/// Bits 0 to 7, as a field of one byte has them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the upper bits are to be left out"
)]
pub(crate) const fn low8(value: u32) -> u8 {
    value as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_saturate_and_registers_wrap() {
        assert_eq!(to_u32(7), 7);
        assert_eq!(to_u32(1 << 32), u32::MAX);
        assert_eq!(low32(0x1_0000_0002), 2);
        assert_eq!(low8(0x102), 2);
        assert_eq!(to_usize(u64::MAX), usize::MAX);
    }
}
