//! Directories that live as long as a process needs them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Result;

use super::locks::Locks;
use crate::base::files::make_dir;

/// Begins the names of directories and of their locks; the process' ID follows.
const PREFIX: &str = "scratch-";

/// A directory of this process, removed when dropped. Its lock tells other processes that it is in use.
pub(crate) struct Scratch {
    path: PathBuf,
    name: String,
    locks: Locks,
    lock: File,
}

impl Scratch {
    /// Makes one in this directory.
    pub(super) fn new(dir: &Path, locks: &Locks) -> Result<Self> {
        let name = format!("{PREFIX}{}", process::id());
        let lock = locks.hold(&name)?;
        let path = dir.join(&name);
        make_dir(&path)?;
        Ok(Self {
            path,
            name,
            locks: locks.clone(),
            lock,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A later build removes what cannot be removed now: the lock's file says that nobody uses it.
        if fs::remove_dir_all(&self.path).is_ok() {
            let _ = self.locks.remove(&self.name, &self.lock);
        }
    }
}

/// Removes the locks' files of processes that were killed. Process IDs hardly repeat, so there would be more and more of them.
///
/// # Errors
/// If a file can be neither locked nor removed.
pub(super) fn sweep(locks: &Locks) -> Result<()> {
    for name in locks.names(PREFIX)? {
        if let Some(held) = locks.try_hold(&name)? {
            locks.remove(&name, &held)?;
        }
    }
    Ok(())
}
