//! What has to be taken along for a program.

use super::Error;
use super::elf;
use super::search::{self, Libraries, User};
use super::tree::{Node, Tree};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many scripts may interpret one another: Linux's `exec_binprm`.
const MAX_SCRIPTS: usize = 4;

/// The longest first line of a script that Linux looks at: `BINPRM_BUF_SIZE`.
const SCRIPT_LINE: usize = 256;

/// Takes the program at the absolute `path` along: itself, its interpreter if it is a script, its dynamic loader and
/// libraries if it has any.
///
/// # Errors
/// [`Error`], naming the file that is missing or of no use to the guest.
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

/// The programs that a script's first line names: its interpreter, and the one that `env` is to find for it. None if
/// it is no script.
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

/// Takes the dynamic loader and every library of `program`, and of those libraries, along.
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
            // musl's loader is its libc.
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
