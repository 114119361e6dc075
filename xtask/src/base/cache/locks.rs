//! Locks between processes: a file for each name, held by flock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The directory of the locks' files.
#[derive(Clone)]
pub(super) struct Locks {
    dir: PathBuf,
}

impl Locks {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// A lock's file, for a lock that is never removed: nothing is locked yet.
    pub(super) fn file(&self, name: &str) -> Result<File> {
        let path = self.dir.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
    }

    /// Waits for a lock, and holds it until the file is dropped.
    pub(super) fn hold(&self, name: &str) -> Result<File> {
        loop {
            let file = self.file(name)?;
            file.lock().with_context(|| failed(name))?;
            if self.is_current(name, &file)? {
                return Ok(file);
            }
        }
    }

    /// Holds a lock, unless somebody else does.
    pub(super) fn try_hold(&self, name: &str) -> Result<Option<File>> {
        loop {
            let file = self.file(name)?;
            match file.try_lock() {
                Ok(()) if self.is_current(name, &file)? => return Ok(Some(file)),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| failed(name)),
            }
        }
    }

    /// Removes the file of a lock while it is held. Whoever already waits for it gets a lock on a file that is gone, sees
    /// that, and tries again with the file of that time; so two never hold a lock at once.
    pub(super) fn remove(&self, name: &str, _held: &File) -> Result<()> {
        let path = self.dir.join(name);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// Whether the locked file is still the one of this name.
    fn is_current(&self, name: &str, file: &File) -> Result<bool> {
        let path = self.dir.join(name);
        let looking = || format!("looking at {}", path.display());
        let locked = file.metadata().with_context(looking)?;
        match fs::metadata(&path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (locked.dev(), locked.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(looking),
        }
    }

    /// The names of all locks that begin with this.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let reading = || format!("reading {}", self.dir.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).with_context(reading)? {
            let name = entry.with_context(reading)?.file_name();
            names.extend(name.into_string().ok().filter(|it| it.starts_with(prefix)));
        }
        Ok(names)
    }
}

/// What failed, for an error.
pub(super) fn failed(name: &str) -> String {
    format!("locking the cache's {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn a_lock_whose_file_is_removed_is_still_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::new(dir.path().to_path_buf());
        let held = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let lock = locks.hold("l").unwrap();
                        assert!(!held.swap(true, Ordering::SeqCst), "two hold it");
                        thread::yield_now();
                        held.store(false, Ordering::SeqCst);
                        locks.remove("l", &lock).unwrap();
                    }
                });
            }
        });
        assert!(locks.names("").unwrap().is_empty());
    }

    #[test]
    fn one_that_waits_for_a_removed_lock_gets_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::new(dir.path().to_path_buf());
        let first = locks.hold("l").unwrap();
        // What a process that is about to wait has opened.
        let stale = locks.file("l").unwrap();
        assert!(locks.try_hold("l").unwrap().is_none());
        locks.remove("l", &first).unwrap();
        drop(first);
        stale.lock().unwrap();
        assert!(!locks.is_current("l", &stale).unwrap());
        let second = locks.try_hold("l").unwrap();
        assert!(second.is_some(), "the stale file's lock is no lock");
        assert!(!locks.is_current("l", &stale).unwrap());
    }
}
