//! The payload file of the initramfs: what PID 1 runs, and with what.
//!
//! Little-endian: [`MAGIC`], flags, number of arguments, number of environment strings, user and group (u32 each). Then
//! NUL-terminated strings: the host's name, the working directory, the arguments, the environment. The first argument is
//! also the path that is executed.

use core::ffi::CStr;

/// Where the file lies in the initramfs. Without it PID 1 rings ready and powers off.
pub const PATH: &str = "/.jiffy-payload";

/// The first four bytes of the file.
pub const MAGIC: [u8; 4] = *b"JFY2";

/// Bytes before the first string.
pub const HEADER: usize = 24;

/// Flag: the runner offers standard input; without it the payload reads an end of file at once.
pub const STDIN: u32 = 1;

/// Flag: the payload's three streams are the console [`TERMINAL_PATH`], which is its controlling terminal.
pub const TERMINAL: u32 = 2;

/// The console of [`TERMINAL`].
pub const TERMINAL_PATH: &CStr = c"/dev/hvc0";

/// Flag: the first disk is the root file system, and the program is looked for there.
pub const ROOT: u32 = 4;

/// How many strings come before the arguments: the host's name and the working directory.
pub const BEFORE_ARGS: usize = 2;

/// The most arguments and environment strings together that PID 1 takes.
pub const MAX_STRINGS: usize = 1024;

/// Why a payload file is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than its header says, or a string without its NUL.
    Truncated,
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// No program to run, or more than [`MAX_STRINGS`] strings.
    Count,
}

/// A payload file, checked: every string is there and ends in NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// [`STDIN`], [`TERMINAL`], [`ROOT`], or 0.
    pub flags: u32,
    /// How many of the strings are arguments; at least 1.
    pub args: usize,
    /// How many strings of environment follow the arguments.
    pub env: usize,
    /// The user that the program runs as.
    pub uid: u32,
    /// Its only group.
    pub gid: u32,
    strings: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Checks the file's bytes.
    ///
    /// # Errors
    /// [`Error`] when the bytes are no payload file; trailing bytes are allowed.
    pub fn parse(file: &'a [u8]) -> Result<Self, Error> {
        let (header, strings) = file.split_at_checked(HEADER).ok_or(Error::Truncated)?;
        if header[..4] != MAGIC {
            return Err(Error::Magic);
        }
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (args, env) = (word(8) as usize, word(12) as usize);
        let count = args.checked_add(env).ok_or(Error::Count)?;
        if args == 0 || count > MAX_STRINGS {
            return Err(Error::Count);
        }
        let payload = Payload {
            flags: word(4),
            args,
            env,
            uid: word(16),
            gid: word(20),
            strings,
        };
        if payload.strings().count() != BEFORE_ARGS + count {
            return Err(Error::Truncated);
        }
        Ok(payload)
    }

    /// The bytes of the strings, each of which has its NUL: they are as many as [`Payload::strings`] gives.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.strings
    }

    /// The strings in order: the host's name, the working directory, then from [`BEFORE_ARGS`] on arguments and environment.
    /// Each is without its NUL, which follows it in memory.
    pub fn strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.strings;
        (0..BEFORE_ARGS + self.args + self.env).map_while(move |_| {
            let end = rest.iter().position(|&byte| byte == 0)?;
            let (string, tail) = rest.split_at(end);
            rest = &tail[1..];
            Some(string)
        })
    }
}

/// The header of a file with these flags, counts, user and group.
#[must_use]
pub fn header(flags: u32, args: u32, env: u32, (uid, gid): (u32, u32)) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    for (slot, word) in header[4..]
        .chunks_exact_mut(4)
        .zip([flags, args, env, uid, gid])
    {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn number(strings: &[&[u8]]) -> u32 {
        u32::try_from(strings.len()).unwrap()
    }

    fn file(flags: u32, args: &[&[u8]], env: &[&[u8]]) -> Vec<u8> {
        let mut file = header(flags, number(args), number(env), (7, 8)).to_vec();
        file.extend_from_slice(b"host\0/work\0");
        for string in args.iter().chain(env) {
            file.extend_from_slice(string);
            file.push(0);
        }
        file
    }

    #[test]
    fn strings_come_back_in_order() {
        let bytes = file(STDIN, &[b"/bin/sh", b"-c", b""], &[b"A=1"]);
        let payload = Payload::parse(&bytes).unwrap();
        assert_eq!((payload.flags, payload.args, payload.env), (STDIN, 3, 1));
        assert_eq!((payload.uid, payload.gid), (7, 8));
        let strings: Vec<_> = payload.strings().collect();
        assert_eq!(
            strings,
            [&b"host"[..], b"/work", b"/bin/sh", b"-c", b"", b"A=1"]
        );
    }

    #[test]
    fn broken_files_are_refused() {
        let whole = file(0, &[b"/init"], &[]);
        for end in 0..whole.len() {
            assert_eq!(
                Payload::parse(&whole[..end]),
                Err(Error::Truncated),
                "cut at {end}"
            );
        }
        assert_eq!(Payload::parse(&file(0, &[], &[b"A=1"])), Err(Error::Count));
        assert_eq!(Payload::parse(&[0; HEADER]), Err(Error::Magic));
        assert_eq!(
            Payload::parse(&header(0, u32::MAX, u32::MAX, (0, 0))),
            Err(Error::Count)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(args: u32, env: u32, tail: Vec<u8>) {
            let mut bytes = header(0, args, env, (0, 0)).to_vec();
            bytes.extend(tail);
            if let Ok(payload) = Payload::parse(&bytes) {
                prop_assert_eq!(payload.strings().count(), BEFORE_ARGS + payload.args + payload.env);
            }
        }
    }
}
