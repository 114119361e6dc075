//! Where interpreters have their standard modules, by their own rules: nothing is run to find out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Parts of Python's library that no program needs to run: tests, tools with windows, and the static library that Debian
/// keeps there. Packages that were installed are for --add: there may be any number of them.
const LEFT_OUT: [&str; 9] = [
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "dist-packages",
];

/// The directories of standard modules of the interpreter at `path`, whose symbolic links are resolved; empty for other
/// programs.
pub(crate) fn modules(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else {
        return Vec::new();
    };
    let candidates = if let Some(version) = name.strip_prefix("python") {
        python(path, version)
    } else if name.starts_with("perl") {
        perl()
    } else {
        Vec::new()
    };
    let there = candidates.into_iter();
    there.filter(|directory| directory.is_dir()).collect()
}

/// Python looks for `os.py` in `lib/pythonX.Y` beside its own directory (getpath of CPython).
fn python(path: &Path, version: &str) -> Vec<PathBuf> {
    let prefix = path.parent().and_then(Path::parent);
    let prefix = prefix.unwrap_or(Path::new("/"));
    let directories = ["lib", "lib64"].map(|lib| prefix.join(lib).join(format!("python{version}")));
    let mut there = directories.into_iter();
    let found = there.find(|directory| directory.join("os.py").is_file());
    found.into_iter().collect()
}

/// Debian's part of @INC that every program may rely on, and the directory of other distributions.
fn perl() -> Vec<PathBuf> {
    let all = ["/usr/lib/x86_64-linux-gnu/perl-base", "/usr/share/perl5"];
    let first = all
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_dir());
    first.into_iter().collect()
}

/// Whether a file or directory of this name is brought along.
pub(crate) fn wanted(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !LEFT_OUT.contains(&name.as_ref()) && !name.starts_with("config-") && !name.ends_with(".a")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn python_has_its_library_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let lib = root.path().join("lib64/python3.99");
        fs::create_dir_all(&lib).unwrap();
        let program = root.path().join("bin/python3.99");
        assert!(modules(&program).is_empty(), "no os.py yet");
        fs::write(lib.join("os.py"), "").unwrap();
        assert_eq!(modules(&program), [lib]);
        assert!(modules(Path::new("/bin/busybox")).is_empty());
    }

    #[test]
    fn tests_stay_at_home() {
        for (name, comes) in [("json", true), ("test", false), ("config-3.11-x", false)] {
            assert_eq!(wanted(OsStr::new(name)), comes, "{name}");
        }
    }
}
