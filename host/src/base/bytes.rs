//! Little-endian fields of byte strings that somebody else wrote: `None` where the string ends before the field does.

/// `N` bytes at an offset.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// 16 bits at an offset.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

/// 32 bits at an offset.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// 32 bits with a sign, at an offset.
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array_at(bytes, at).map(i32::from_le_bytes)
}

/// 64 bits at an offset.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// Copies the front of a register's value to what the guest reads; zeros follow it.
pub(crate) fn fill(data: &mut [u8], value: &[u8]) {
    for (into, byte) in data
        .iter_mut()
        .zip(value.iter().chain(std::iter::repeat(&0)))
    {
        *into = *byte;
    }
}

/// Lower-case hexadecimal, two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_cut_is_none() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(u16_at(&bytes, 3), Some(0x0504));
        assert_eq!(u32_at(&bytes, 1), Some(0x0504_0302));
        assert_eq!((u32_at(&bytes, 2), u64_at(&bytes, 0)), (None, None));
        assert_eq!(u16_at(&bytes, usize::MAX), None);
    }

    #[test]
    fn a_short_value_is_followed_by_zeros() {
        let mut data = [9; 3];
        fill(&mut data, &[1]);
        assert_eq!(data, [1, 0, 0]);
        fill(&mut data, &[2; 8]);
        assert_eq!(data, [2; 3]);
    }
}
