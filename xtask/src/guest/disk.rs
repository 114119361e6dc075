//! Names of a disk: its file with settings appended, its path in QEMU's syntax, its letter in the guest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Settings that may follow a disk's file name.
const DISK_SETTINGS: [&[u8]; 2] = [b",ro", b",direct"];

/// Splits a disk option into the file and its settings, with their commas.
pub(super) fn split(disk: &OsStr) -> (&OsStr, &[u8]) {
    let all = disk.as_bytes();
    let mut file = all;
    while let Some(rest) = DISK_SETTINGS
        .iter()
        .find_map(|setting| file.strip_suffix(*setting))
    {
        file = rest;
    }
    (OsStr::from_bytes(file), &all[file.len()..])
}

/// Doubles commas: QEMU reads a single one as a separator.
pub(super) fn escaped(path: &OsStr) -> OsString {
    let mut bytes = Vec::new();
    for &byte in path.as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

/// The letter of a disk's name in the guest. A machine has fewer than 26 devices.
pub(super) fn letter(number: usize) -> char {
    ('a'..='z').nth(number % 26).unwrap_or('a')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_from_the_end() {
        for (text, file, settings) in [
            ("a.img", "a.img", ""),
            ("a,b.img,ro", "a,b.img", ",ro"),
            ("a.img,direct,ro", "a.img", ",direct,ro"),
        ] {
            let (found, rest) = split(OsStr::new(text));
            assert_eq!((found, rest), (OsStr::new(file), settings.as_bytes()));
        }
        assert_eq!(escaped(OsStr::new("a,b")), "a,,b");
    }
}
