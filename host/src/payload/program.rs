//! Collects the files that a program needs.

use super::Error;
use super::elf;
use super::search::{self, Libraries, User};
use super::tree::{Node, Tree};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How deep script interpreters may nest: the limit in Linux's `exec_binprm`.
const MAX_SCRIPTS: usize = 4;

/// How much of a script's first line Linux reads, in bytes: `BINPRM_BUF_SIZE`.
const SCRIPT_LINE: usize = 256;

/// Adds the program at the absolute `path` to the tree, with its interpreter if it is a script, and its dynamic loader and
/// libraries if it has any.
///
/// # Errors
/// [`Error`], naming the file that is missing or that the guest cannot use.
pub(crate) fn take(tree: &mut Tree, path: &Path, libraries: &Libraries) -> Result<(), Error> {
    tree.take(path).map_err(|error| named(error, path))?;
    let mut programs = vec![path.to_owned()];
    let mut scripts = 0;
    while let Some(path) = programs.pop() {
        let (real, node) = tree.take(&path)?;
        let Node::File { mode, bytes } = node else {
            return Err(Error::NotExecutable(path));
        };
        if mode & 0o111 == 0 {
            return Err(Error::NotExecutable(path));
        }
        if elf::is_elf(bytes) {
            let needs = elf::needs(&path, bytes)?;
            take_libraries(tree, User::new(real, needs, None), libraries)?;
            continue;
        }
        let interpreters = interpreters(bytes)?.ok_or_else(|| Error::NotAProgram(path.clone()))?;
        scripts += 1;
        if scripts > MAX_SCRIPTS {
            return Err(Error::ScriptDepth(path));
        }
        programs.extend(interpreters);
    }
    Ok(())
}

/// A file that is not there is the program's path itself, or where that leads.
fn named(error: Error, path: &Path) -> Error {
    match error {
        Error::Read { path: missing, why }
            if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            let path = path.to_owned();
            Error::NoProgram { path, missing }
        }
        other => other,
    }
}

/// The programs that a script's first line names: its interpreter and, if that is `env`, the program that `env` is to
/// find. `None` if the file is not a script.
fn interpreters(bytes: &[u8]) -> Result<Option<Vec<PathBuf>>, Error> {
    let Some(rest) = bytes[..bytes.len().min(SCRIPT_LINE)].strip_prefix(b"#!") else {
        return Ok(None);
    };
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else {
        return Ok(None);
    };
    let mut programs = vec![Path::new("/").join(OsStr::from_bytes(interpreter))];
    if programs[0].file_name() == Some(OsStr::new("env"))
        && let Some(name) = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))
    {
        programs.push(search::program(OsStr::from_bytes(name))?);
    }
    Ok(Some(programs))
}

/// Adds the dynamic loader of `program`, its libraries, and theirs in turn.
fn take_libraries(tree: &mut Tree, program: User, libraries: &Libraries) -> Result<(), Error> {
    let Some(interpreter) = program.needs.interpreter.clone() else {
        return Ok(());
    };
    tree.take(&interpreter)?;
    let musl = interpreter
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"ld-musl-"));
    let mut known = BTreeSet::new();
    let mut users = VecDeque::from([program]);
    while let Some(user) = users.pop_front() {
        for name in &user.needs.libraries {
            // musl's loader is also its libc.
            if !known.insert(name.clone()) || musl && name.starts_with("libc.") {
                continue;
            }
            let found = libraries
                .find(name, &user)
                .ok_or_else(|| Error::NoLibrary {
                    name: name.clone(),
                    user: user.path.clone(),
                })?;
            if found.by_cache {
                tree.take(Path::new("/etc/ld.so.cache"))?;
            }
            let (_, node) = tree.take(&found.path)?;
            let Node::File { bytes, .. } = node else {
                return Err(Error::FileType(found.path));
            };
            let needs = elf::needs(&found.path, bytes)?;
            users.push_back(User::new(found.path, needs, Some(&user)));
        }
    }
    Ok(())
}
