//! The program to run in the guest, packed with everything that it needs.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Context, Result};
use jiffy::payload::Settings;

use crate::base::failure::usage;
use crate::base::files::read;

/// A program and its arguments.
pub(crate) struct Payload {
    program: OsString,
    args: Vec<OsString>,
    /// Whether it is in the guest's root and not on this machine.
    in_guest: bool,
    settings: Settings,
}

impl Payload {
    /// From the words after `--`, if there are any.
    pub(crate) fn new(words: &[OsString], in_guest: bool, settings: Settings) -> Option<Self> {
        let (program, args) = words.split_first()?;
        Some(Self {
            program: program.clone(),
            args: args.to_vec(),
            in_guest,
            settings,
        })
    }

    /// Checks that it can be packed, so that an error shows before a kernel is built.
    pub(crate) fn check(&self) -> Result<()> {
        self.archive(0).map(|_| ())
    }

    /// The program and its arguments, if the program is in the guest's root.
    pub(crate) fn in_guest(&self) -> Option<impl Iterator<Item = &OsString>> {
        let words = [&self.program].into_iter().chain(&self.args);
        self.in_guest.then_some(words)
    }

    /// The archive to append to the base initramfs; `flags` are those of [`jiffy_abi::payload`].
    pub(crate) fn archive(&self, flags: u32) -> Result<Vec<u8>> {
        if self.in_guest {
            return jiffy::payload::in_guest(&self.program, &self.args, &self.settings, flags)
                .map_err(|error| usage(error.to_string()));
        }
        jiffy::payload::with_payload(&self.program, &self.args, &self.settings, flags)
            .map_err(|error| usage(error.to_string()))
    }
}

/// The first archive of a guest's initramfs: this program as PID 1, and the files it needs before it has mounted anything.
pub(crate) fn base(init: &Path) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    jiffy::payload::base(&read(init)?, &mut archive)
        .with_context(|| format!("packing {}", init.display()))?;
    Ok(archive)
}

/// Packs a program. If that fails, it is the caller's error.
pub(crate) fn pack(program: &OsStr, args: &[OsString], flags: u32) -> Result<Vec<u8>> {
    let settings = Settings::with_env(jiffy::payload::environment());
    jiffy::payload::with_payload(program, args, &settings, flags)
        .map_err(|error| usage(error.to_string()))
}
