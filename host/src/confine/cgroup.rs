//! `--cgroup DIR`: the runner, its threads and its guest's memory are accounted to a cgroup, whose limits are the caller's.

use crate::error::{Error, Result};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Moves this process into the cgroup, where what it allocates and starts from here on is counted
/// (Documentation/admin-guide/cgroup-v2.rst, "Processes": 0 is the one that writes).
///
/// # Errors
/// [`Error::Cgroup`].
pub fn enter(dir: &Path) -> Result<()> {
    // Nothing is created: a directory that is no cgroup has no such file.
    let processes = OpenOptions::new()
        .write(true)
        .open(dir.join("cgroup.procs"));
    processes
        .and_then(|mut file| file.write_all(b"0"))
        .map_err(|error| Error::Cgroup {
            path: dir.to_owned(),
            error,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_no_cgroup_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let error = enter(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&*dir.path().to_string_lossy()), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        enter(dir.path()).unwrap();
        let told = fs::read(dir.path().join("cgroup.procs")).unwrap();
        assert_eq!(told, b"0");
    }
}
