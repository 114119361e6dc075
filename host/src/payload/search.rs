//! Finds programs and their libraries on this machine.

use super::Error;
use super::elf::{self, Needs};
use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Searched when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The dynamic loader's default directories, searched last: Debian's, then other distributions'.
const DEFAULT_LIBRARIES: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// How deep `include` lines in `ld.so.conf` may nest.
const MAX_INCLUDES: usize = 8;

/// The absolute path of the program `name`, found as `execvp` finds it.
///
/// # Errors
/// [`Error::NotInPath`].
pub(crate) fn program(name: &OsStr) -> Result<PathBuf, Error> {
    if name.as_bytes().contains(&b'/') {
        return Ok(std::path::absolute(name)?);
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let found = env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| {
            fs::metadata(file)
                .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
        });
    match found {
        Some(file) => Ok(std::path::absolute(file)?),
        None => Err(Error::NotInPath(name.to_owned())),
    }
}

/// An ELF file that asks for a library, and the search path it inherits from its loaders.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// The path by which it was loaded.
    pub(crate) path: PathBuf,
    /// What it needs.
    pub(crate) needs: Needs,
    /// `DT_RPATH` directories: its own, then its loaders'.
    rpath: Vec<PathBuf>,
}

impl User {
    /// The file at `path` with these `needs`, loaded by `loader`.
    pub(crate) fn new(path: PathBuf, needs: Needs, loader: Option<&User>) -> Self {
        let mut rpath = Vec::new();
        if let (Some(own), None) = (&needs.rpath, &needs.runpath) {
            rpath = directories(own, &path);
        }
        rpath.extend(
            loader
                .into_iter()
                .flat_map(|loader| loader.rpath.iter().cloned()),
        );
        User { path, needs, rpath }
    }
}

/// A library that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Whether the loader finds its directory only through `ld.so.cache`.
    pub(crate) by_cache: bool,
}

/// The dynamic loader's rules: ld.so(8).
#[derive(Debug)]
pub(crate) struct Libraries {
    /// `LD_LIBRARY_PATH` of the guest's environment.
    by_environment: Vec<PathBuf>,
    /// The directories in `ld.so.conf`, from which ldconfig builds the cache.
    configured: Vec<PathBuf>,
}

impl Libraries {
    /// This machine's rules for a program with the environment `env`.
    pub(crate) fn new(env: &[OsString]) -> Self {
        let path = env
            .iter()
            .find_map(|string| string.as_bytes().strip_prefix(b"LD_LIBRARY_PATH="));
        let mut configured = Vec::new();
        read_configuration(Path::new("/etc/ld.so.conf"), &mut configured, 0);
        Libraries {
            by_environment: path.map_or(Vec::new(), |path| {
                directories(OsStr::from_bytes(path), Path::new("/"))
            }),
            configured,
        }
    }

    /// Finds the library `name` for `user`; `None` if no directory has it.
    pub(crate) fn find(&self, name: &str, user: &User) -> Option<Found> {
        if name.contains('/') {
            let path = Path::new("/").join(name);
            return fits(&path).then_some(Found {
                path,
                by_cache: false,
            });
        }
        let needs = &user.needs;
        let runpath = needs
            .runpath
            .as_ref()
            .map(|path| directories(path, &user.path));
        let rpath = if runpath.is_some() {
            &[][..]
        } else {
            &user.rpath
        };
        let told = rpath
            .iter()
            .chain(&self.by_environment)
            .chain(runpath.iter().flatten());
        if let Some(path) = told
            .map(|directory| directory.join(name))
            .find(|path| fits(path))
        {
            return Some(Found {
                path,
                by_cache: false,
            });
        }
        let defaults = DEFAULT_LIBRARIES.map(PathBuf::from);
        let directory = self
            .configured
            .iter()
            .chain(&defaults)
            .find(|directory| fits(&directory.join(name)))?;
        let by_cache = !defaults.contains(directory);
        Some(Found {
            path: directory.join(name),
            by_cache,
        })
    }
}

/// Whether the guest's loader would accept this file. It skips files for other machines.
fn fits(path: &Path) -> bool {
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(elf::HEADER).read_to_end(&mut header));
    read.is_ok() && elf::is_for_guest(&header)
}

/// The directories in a colon-separated list; `$ORIGIN` stands for the directory of `file`.
fn directories(list: &OsStr, file: &Path) -> Vec<PathBuf> {
    let origin = file.parent().unwrap_or(Path::new("/"));
    let directory = |entry: PathBuf| {
        let mut names = entry.components();
        match names.next() {
            Some(first)
                if ["$ORIGIN", "${ORIGIN}"]
                    .iter()
                    .any(|token| first.as_os_str() == *token) =>
            {
                origin.join(names.as_path())
            }
            // An empty or relative entry means the working directory: the guest's root.
            _ => Path::new("/").join(entry),
        }
    };
    env::split_paths(list).map(directory).collect()
}

/// Adds the directories in an `ld.so.conf`, see ldconfig(8). Like ldconfig, it skips files that it cannot read.
fn read_configuration(file: &Path, directories: &mut Vec<PathBuf>, depth: usize) {
    let Ok(text) = fs::read_to_string(file) else {
        return;
    };
    for line in text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
    {
        match line.split_once(char::is_whitespace) {
            Some(("include", patterns)) if depth < MAX_INCLUDES => {
                for pattern in patterns.split_whitespace() {
                    for included in matching(&file.with_file_name(pattern)) {
                        read_configuration(&included, directories, depth + 1);
                    }
                }
            }
            _ => {
                let absolute = line
                    .split([' ', '\t', ',', ':'])
                    .filter(|word| word.starts_with('/'));
                directories.extend(absolute.map(PathBuf::from));
            }
        }
    }
}

/// The files that match `pattern`, sorted. It has at most one `*`, in its last component.
fn matching(pattern: &Path) -> BTreeSet<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().as_bytes();
    let Some(star) = name.iter().position(|&byte| byte == b'*') else {
        return BTreeSet::from([pattern.to_owned()]);
    };
    let (start, end) = (&name[..star], &name[star + 1..]);
    let directory = pattern.parent().unwrap_or(Path::new("/"));
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let fits = |name: &OsStr| {
        let name = name.as_bytes();
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    files
        .filter(|file| fits(&file.file_name()))
        .map(|file| file.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(path: &str, rpath: Option<&str>, runpath: Option<&str>, loader: Option<&User>) -> User {
        let needs = Needs {
            rpath: rpath.map(Into::into),
            runpath: runpath.map(Into::into),
            ..Needs::default()
        };
        User::new(path.into(), needs, loader)
    }

    #[test]
    fn origin_is_the_directory_of_the_file() {
        let file = Path::new("/opt/a/bin/program");
        let found = directories("$ORIGIN:${ORIGIN}/../lib:/abs:rel".as_ref(), file);
        let expected = ["/opt/a/bin/", "/opt/a/bin/../lib", "/abs", "/rel"].map(PathBuf::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_loaders_rpath_serves_what_it_loads() {
        let program = user("/a/program", Some("/a/lib"), None, None);
        let library = user("/a/lib/one", Some("/b/lib"), None, Some(&program));
        assert_eq!(library.rpath, [PathBuf::from("/b/lib"), "/a/lib".into()]);
        let other = user("/a/lib/two", Some("/b/lib"), Some("/c"), Some(&program));
        assert_eq!(other.rpath, [PathBuf::from("/a/lib")]);
    }

    #[test]
    fn configurations_include_one_another() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        write(
            "ld.so.conf",
            "# here\ninclude d-*.conf none.conf\n/x:/y # and there\nhwcap 1 no\n",
        );
        write("d-2.conf", "/two\n");
        write("d-1.conf", "/one\ninclude ld.so.conf\n");
        let mut found = Vec::new();
        read_configuration(
            &place.path().join("ld.so.conf"),
            &mut found,
            MAX_INCLUDES - 1,
        );
        assert_eq!(found, ["/one", "/two", "/x", "/y"].map(PathBuf::from));
    }
}
