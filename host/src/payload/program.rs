//! Collects the files that a program needs.

use super::Error;
use super::elf;
use super::interpreter;
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
            take_libraries(tree, User::new(real.clone(), needs, None), libraries)?;
            take_modules(tree, &real, libraries)?;
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

/// Adds a file or a directory of this machine, with what the programs and libraries among them need.
///
/// # Errors
/// [`Error`], naming the file.
pub(crate) fn add(tree: &mut Tree, path: &Path, libraries: &Libraries) -> Result<(), Error> {
    let (real, node) = tree.take(path)?;
    match node {
        Node::File { mode, bytes } if mode & 0o111 != 0 && elf::is_elf(bytes) => {
            take(tree, path, libraries)
        }
        Node::Directory { .. } => {
            for file in tree.take_below(&real, |_| true)? {
                take_needs(tree, &file, libraries)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Adds the standard modules of an interpreter. What its extension modules need comes along as far as it is there.
fn take_modules(tree: &mut Tree, interpreter: &Path, libraries: &Libraries) -> Result<(), Error> {
    for directory in interpreter::modules(interpreter) {
        let (real, _) = tree.take(&directory)?;
        for file in tree.take_below(&real, interpreter::wanted)? {
            take_needs(tree, &file, libraries)?;
        }
    }
    Ok(())
}

/// Adds the libraries that an ELF file among others needs. What is not there is nothing that this machine could use either.
fn take_needs(tree: &mut Tree, file: &Path, libraries: &Libraries) -> Result<(), Error> {
    let (real, node) = tree.take(file)?;
    let Node::File { bytes, .. } = node else {
        return Ok(());
    };
    if !elf::is_for_guest(bytes) {
        return Ok(());
    }
    let Ok(needs) = elf::needs(file, bytes) else {
        return Ok(());
    };
    if let Some(loader) = &needs.interpreter {
        tree.take(loader)?;
    }
    match take_closure(tree, User::new(real, needs, None), libraries, false) {
        Err(Error::NoLibrary { .. }) => Ok(()),
        other => other,
    }
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
    take_closure(tree, program, libraries, musl)
}

/// Adds the libraries of `program`, and theirs in turn.
fn take_closure(
    tree: &mut Tree,
    program: User,
    libraries: &Libraries,
    musl: bool,
) -> Result<(), Error> {
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
