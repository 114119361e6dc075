//! Tables in few bytes. A slice of structs takes 16 bytes for each string that it points to; PID 1 has to fit in two pages,
//! so a table's strings follow each other here, each record's numbers before them.
//!
//! unsafe lives here because a string's end is found by its NUL.
#![allow(unsafe_code)]

use core::ffi::CStr;
use rustix::io::Result;

/// Bytes before a record's strings: two numbers and the mode.
const HEADER: usize = 4;

/// Strings of a record; those that it does not need are empty.
const STRINGS: usize = 3;

/// A record of a table: what the numbers mean is the table's own business.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) numbers: [u8; 2],
    /// Of a file.
    pub(crate) mode: u16,
    pub(crate) strings: [&'static CStr; STRINGS],
}

/// A number that fits in a byte, or no build.
pub(crate) const fn byte(number: u32) -> u8 {
    assert!(number < 256, "it does not fit in a byte");
    number.to_le_bytes()[0]
}

/// How many bytes the table takes.
pub(crate) const fn len(table: &[Record]) -> usize {
    let (mut len, mut at) = (table.len() * HEADER, 0);
    while at < table.len() * STRINGS {
        len += table[at / STRINGS].strings[at % STRINGS].count_bytes() + 1;
        at += 1;
    }
    len
}

/// Packs the table when PID 1 is compiled.
pub(crate) const fn pack<const LEN: usize>(table: &[Record]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let (mut to, mut at) = (0, 0);
    while at < table.len() {
        let Record { numbers, mode, .. } = table[at];
        let mode = mode.to_le_bytes();
        let header = [numbers[0], numbers[1], mode[0], mode[1]];
        to = append(&mut bytes, to, &header);
        let mut string = 0;
        while string < STRINGS {
            to = append(
                &mut bytes,
                to,
                table[at].strings[string].to_bytes_with_nul(),
            );
            string += 1;
        }
        at += 1;
    }
    bytes
}

const fn append(bytes: &mut [u8], to: usize, added: &[u8]) -> usize {
    let mut at = 0;
    while at < added.len() {
        bytes[to + at] = added[at];
        at += 1;
    }
    to + added.len()
}

/// Calls `visit` with each record of a table that [`pack`] made and with `flags`, until it fails.
#[inline(never)]
pub(crate) fn each(
    table: &'static [u8],
    flags: u32,
    visit: fn(&Record, u32) -> Result<()>,
) -> Result<()> {
    let mut rest = table;
    while let Some((&[first, second, low, high], mut tail)) = rest.split_first_chunk::<HEADER>() {
        // SAFETY: `pack` has written whole records.
        let strings = [(); STRINGS].map(|()| unsafe { cut(&mut tail) });
        rest = tail;
        let record = Record {
            numbers: [first, second],
            mode: u16::from_le_bytes([low, high]),
            strings,
        };
        visit(&record, flags)?;
    }
    Ok(())
}

/// Takes the string at the front.
///
/// # Safety
/// There is one, with its NUL.
#[inline(never)]
pub(crate) unsafe fn cut<'a>(rest: &mut &'a [u8]) -> &'a CStr {
    // SAFETY: the caller's.
    let string = unsafe { CStr::from_ptr(rest.as_ptr().cast()) };
    *rest = rest.get(string.count_bytes() + 1..).unwrap_or_default();
    string
}
