//! A cache of everything that takes long to make, in `$XDG_CACHE_HOME/jiffy`.
//!
//! ```text
//! KIND/KEY        a complete entry. Kinds: downloads, trees, kernels, variants
//! tmp/KIND-KEY    an entry being made, renamed to its place when it is complete
//! tmp/scratch-PID a directory for one process
//! locks/NAME      flock: exclusive while KIND-KEY is made, shared while it is used
//! sums/...        SHA-256 of files seen before, by path, size and change time
//! ```
//! A build that is killed leaves its tmp directory but loses its lock, so the next build removes the directory.

mod locks;
mod scratch;

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};

use self::locks::{Locks, failed};
use self::scratch::Scratch;
use crate::base::digest;
use crate::base::files::{make_dir, write};

/// An open cache.
pub(crate) struct Cache {
    root: PathBuf,
    locks: Locks,
}

/// An entry in use, which is not removed as long as this lives.
pub(crate) struct Entry {
    path: PathBuf,
    _lock: File,
}

impl Entry {
    /// Where the entry is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    /// Opens the user's cache and removes what killed builds left in it.
    pub(crate) fn open() -> Result<Self> {
        let base = env::var_os("XDG_CACHE_HOME")
            .filter(|dir| Path::new(dir).is_absolute())
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .ok_or_else(|| {
                anyhow!("cannot find the cache: neither XDG_CACHE_HOME nor HOME is set")
            })?;
        Self::at(base.join("jiffy"))
    }

    fn at(root: PathBuf) -> Result<Self> {
        let locks = Locks::new(root.join("locks"));
        let cache = Self { root, locks };
        for dir in ["tmp", "locks", "sums"] {
            make_dir(&cache.root.join(dir))?;
        }
        cache.sweep()?;
        Ok(cache)
    }

    /// The entry, made by `make` in an empty directory when it is not there yet.
    pub(crate) fn entry(
        &self,
        kind: &str,
        key: &str,
        make: impl Fn(&Path) -> Result<()>,
    ) -> Result<Entry> {
        let path = self.root.join(kind).join(key);
        let name = format!("{kind}-{key}");
        let lock = self.locks.file(&name)?;
        loop {
            // Shared, so that builds of different profiles use one source tree side by side.
            lock.lock_shared().context(failed(&name))?;
            if path.exists() {
                break;
            }
            lock.unlock().context(failed(&name))?;
            lock.lock().context(failed(&name))?;
            if !path.exists() {
                self.make(kind, &name, &path, &make)?;
            }
            lock.unlock().context(failed(&name))?;
        }
        // The time of last use decides what is pruned first. A cache that cannot be stamped still works.
        let _ = File::open(&path).and_then(|dir| dir.set_modified(SystemTime::now()));
        Ok(Entry { path, _lock: lock })
    }

    fn make(
        &self,
        kind: &str,
        name: &str,
        path: &Path,
        make: &impl Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        make_dir(&self.root.join(kind))?;
        let aside = self.root.join("tmp").join(name);
        make_dir(&aside)?;
        let made = make(&aside).and_then(|()| {
            fs::rename(&aside, path)
                .with_context(|| format!("moving a complete {kind} entry to {}", path.display()))
        });
        if made.is_err() {
            // Report the error that stopped us; the next build removes what is left.
            let _ = fs::remove_dir_all(&aside);
        }
        made
    }

    /// A directory for this process alone, removed when it is dropped or, if the process is killed, by a later build.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        Scratch::new(&self.root.join("tmp"), &self.locks)
    }

    /// Whether the entry is there.
    pub(crate) fn has(&self, kind: &str, key: &str) -> bool {
        self.root.join(kind).join(key).exists()
    }

    /// An exclusive lock of this name, held until it is dropped.
    pub(crate) fn lock(&self, name: &str) -> Result<File> {
        self.locks.hold(name)
    }

    /// Removes all but the `keep` last used entries of a kind that nobody is using.
    pub(crate) fn prune(&self, kind: &str, keep: usize) -> Result<()> {
        let mut entries: Vec<(SystemTime, PathBuf)> = list(&self.root.join(kind))?
            .into_iter()
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        entries.sort();
        entries.reverse();
        for (_, path) in entries.into_iter().skip(keep) {
            let key = path.file_name().unwrap_or_default().to_string_lossy();
            self.remove_unused(&format!("{kind}-{key}"), &path)?;
        }
        Ok(())
    }

    /// SHA-256 of a file, remembered until its size or change time differs.
    pub(crate) fn sha256(&self, file: &Path) -> Result<String> {
        let stat = digest::stat(file)?;
        let name = digest::of(&[stat.as_bytes()]);
        let memo = self.root.join("sums").join(name);
        if let Ok(sum) = fs::read_to_string(&memo) {
            return Ok(sum);
        }
        let sum = digest::file(file)?;
        write(&memo, sum.as_bytes())?;
        Ok(sum)
    }

    /// Removes what killed processes have left.
    fn sweep(&self) -> Result<()> {
        for path in list(&self.root.join("tmp"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.remove_unused(&name, &path)?;
        }
        scratch::sweep(&self.locks)
    }

    fn remove_unused(&self, name: &str, path: &Path) -> Result<()> {
        match self.locks.try_hold(name)? {
            Some(_held) => remove(path),
            None => Ok(()),
        }
    }
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let reading = || format!("reading {}", dir.display());
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).with_context(reading))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(reading),
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.with_context(|| format!("removing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("jiffy")).unwrap();
        (dir, cache)
    }

    #[test]
    fn an_entry_is_made_once_by_many() {
        let (_dir, cache) = cache();
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let entry = cache
                        .entry("trees", "k", |aside| {
                            made.fetch_add(1, Ordering::SeqCst);
                            fs::write(aside.join("f"), "whole")?;
                            Ok(())
                        })
                        .unwrap();
                    assert_eq!(fs::read(entry.path().join("f")).unwrap(), b"whole");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_failed_entry_leaves_nothing() {
        let (_dir, cache) = cache();
        let failed = cache.entry("trees", "k", |aside| {
            fs::write(aside.join("half"), "")?;
            Err(anyhow!("no space"))
        });
        assert!(failed.is_err());
        assert!(!cache.has("trees", "k"));
        assert!(list(&cache.root.join("tmp")).unwrap().is_empty());
    }

    #[test]
    fn leftovers_are_swept_unless_in_the_making() {
        let (_dir, cache) = cache();
        let tmp = cache.root.join("tmp");
        for name in ["trees-dead", "trees-live"] {
            make_dir(&tmp.join(name)).unwrap();
        }
        let live = cache.lock("trees-live").unwrap();
        cache.sweep().unwrap();
        assert_eq!(list(&tmp).unwrap(), [tmp.join("trees-live")]);
        drop(live);
        cache.sweep().unwrap();
        assert!(list(&tmp).unwrap().is_empty());
    }

    #[test]
    fn a_scratch_leaves_no_lock_and_a_killed_one_is_swept() {
        let (_dir, cache) = cache();
        let locks = || cache.locks.names("scratch-").unwrap().len();
        let scratch = cache.scratch().unwrap();
        make_dir(&cache.root.join("tmp/scratch-0")).unwrap();
        drop(cache.lock("scratch-0").unwrap());
        assert_eq!(locks(), 2);
        cache.sweep().unwrap();
        assert_eq!(locks(), 1);
        assert_eq!(list(&cache.root.join("tmp")).unwrap(), [scratch.path()]);
        drop(scratch);
        assert_eq!(locks(), 0);
        assert!(list(&cache.root.join("tmp")).unwrap().is_empty());
    }

    #[test]
    fn pruning_spares_what_is_in_use() {
        let (_dir, cache) = cache();
        let used = cache.entry("trees", "a", |_| Ok(())).unwrap();
        for key in ["b", "c", "d"] {
            cache.entry("trees", key, |_| Ok(())).unwrap();
        }
        cache.prune("trees", 2).unwrap();
        let there = ["a", "b", "c", "d"].map(|key| cache.has("trees", key));
        assert_eq!(there, [true, false, true, true]);
        drop(used);
    }
}
