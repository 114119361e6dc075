//! Reading the options and their values, one after the other.

use jiffy::ValueError;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The options yet to be read. Errors about values name the option.
pub(super) struct Options(pub(super) lexopt::Parser);

impl Options {
    // One copy for all types of values, since the program's size is part of its start.
    #[inline(never)]
    pub(super) fn text(&mut self) -> Result<String, lexopt::Error> {
        lexopt::ValueExt::string(self.0.value()?)
    }

    pub(super) fn path(&mut self) -> Result<PathBuf, lexopt::Error> {
        Ok(self.0.value()?.into())
    }

    pub(super) fn value<T>(
        &mut self,
        option: &str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<T, lexopt::Error> {
        parse(&self.text()?).map_err(|error| refused(option, &error))
    }

    pub(super) fn os_value<T>(
        &mut self,
        option: &str,
        parse: impl FnOnce(&OsStr) -> Result<T, ValueError>,
    ) -> Result<T, lexopt::Error> {
        parse(&self.0.value()?).map_err(|error| refused(option, &error))
    }
}

#[inline(never)]
fn refused(option: &str, error: &ValueError) -> lexopt::Error {
    format!("--{option}: {error}").into()
}
