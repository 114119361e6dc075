//! Files and directories: read, written and made, with errors that name them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::failure::usage;

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Checks early that a file the user named is there.
pub(crate) fn existing(option: &str, path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| usage(format!("{option} {}: {error}", path.display())))
}

/// Creates a directory and those above it.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let dir = path.parent().unwrap_or(Path::new("."));
    // Readable as the user's umask says, where a temporary file's own default is to be private.
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .with_context(writing)?;
    io::Write::write_all(&mut file, bytes).with_context(writing)?;
    file.persist(path).with_context(writing)?;
    Ok(())
}
