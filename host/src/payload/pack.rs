//! The two archives of an initramfs.

use super::search::{self, Libraries};
use super::settings::Settings;
use super::tree::{Node, Tree};
use super::{Error, cpio, program};
use crate::base::cast::to_u32;
use jiffy_abi::payload::{self, MAX_STRINGS};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The minimum for a program to look up its own user and group.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\n";

/// Variables that a program inherits from our environment. HOME is not among them: it is the guest's.
const INHERITED: [&str; 4] = ["PATH", "TERM", "LANG", "LC_ALL"];

/// The default environment of a program from this machine.
#[must_use]
pub fn environment() -> Vec<OsString> {
    let ours = INHERITED.iter().filter_map(|name| {
        let mut pair = OsString::from(format!("{name}="));
        pair.push(std::env::var_os(name)?);
        Some(pair)
    });
    [OsString::from("HOME=/root")]
        .into_iter()
        .chain(ours)
        .collect()
}

/// `PATH` for a program from the guest's root, since ours describes this machine.
const GUEST_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The default environment of a program from the guest's root.
#[must_use]
pub fn guest_environment() -> Vec<OsString> {
    let ours = environment().into_iter();
    let others = ours.filter(|pair| !pair.as_bytes().starts_with(b"PATH="));
    others.chain([OsString::from(GUEST_PATH)]).collect()
}

/// Writes the initramfs that every guest has: `/dev/console`, and `/init` with PID 1's ELF file `init`.
///
/// On its own it gives a guest that signals ready and powers off; the archive of [`with_payload`] can follow it.
///
/// # Errors
/// [`Error::Write`] from `out`.
pub fn base(init: &[u8], out: &mut impl Write) -> Result<(), Error> {
    let mut tree = Tree::default();
    tree.add("dev", Node::Directory { mode: 0o755 });
    // The kernel opens it for PID 1 before any file system is mounted.
    tree.add(
        "dev/console",
        Node::Device {
            mode: 0o600,
            number: (5, 1),
        },
    );
    tree.add(
        "init",
        Node::File {
            mode: 0o755,
            bytes: init.to_vec(),
        },
    );
    cpio::write(&tree, out)
}

/// The archive that follows [`base`]'s to run a program of this machine. It holds the program and the files it needs, at
/// the same paths as here, and the payload file.
///
/// `program` is looked up in `PATH` as a shell does it. `args` are the arguments after the program's name, and `flags` those of [`payload`]; without flags, the program's stdin is at its end at once.
///
/// # Errors
/// [`Error`], which says what to do.
pub fn with_payload(
    program: &OsStr,
    args: &[OsString],
    settings: &Settings,
    flags: u32,
) -> Result<Vec<u8>, Error> {
    let path = search::program(program)?;
    let mut tree = Tree::default();
    // The kernel creates a root directory that everybody can write to.
    tree.add(".", Node::Directory { mode: 0o755 });
    let libraries = Libraries::new(&settings.env);
    program::take(&mut tree, &path, &libraries)?;
    for path in &settings.add {
        program::add(&mut tree, &std::path::absolute(path)?, &libraries)?;
    }
    tree.add("etc", Node::Directory { mode: 0o755 });
    for (path, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP)] {
        tree.add(
            path,
            Node::File {
                mode: 0o644,
                bytes: text.into(),
            },
        );
    }
    let bytes = payload_file(path.as_os_str(), args, settings, flags)?;
    with_file(tree, bytes)
}

/// The archive that follows [`base`]'s to run a program from the guest's root: only the payload file. `program` is a path
/// in that root; the other parameters are those of [`with_payload`].
///
/// # Errors
/// [`Error`], which says what to do.
pub fn in_guest(
    program: &OsStr,
    args: &[OsString],
    settings: &Settings,
    flags: u32,
) -> Result<Vec<u8>, Error> {
    if !program.as_bytes().starts_with(b"/") {
        return Err(Error::NotAbsolute(program.to_owned()));
    }
    with_file(
        Tree::default(),
        payload_file(program, args, settings, flags)?,
    )
}

/// The archive of a tree, with the payload file added.
fn with_file(mut tree: Tree, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    let path = payload::PATH.trim_start_matches('/');
    tree.add(path, Node::File { mode: 0o600, bytes });
    let mut archive = Vec::new();
    cpio::write(&tree, &mut archive)?;
    Ok(archive)
}

/// Adds an archive of programs at their absolute paths, with the files they need from this machine.
///
/// # Errors
/// [`Error`], which says what to do.
pub fn programs(programs: &[PathBuf], out: &mut impl Write) -> Result<(), Error> {
    if programs.is_empty() {
        return Ok(());
    }
    let mut tree = Tree::default();
    let libraries = Libraries::new(&[]);
    for path in programs {
        program::take(&mut tree, path, &libraries)?;
    }
    cpio::write(&tree, out)
}

/// The archive of a directory's files, which becomes the guest's root. Files keep their modes and belong to root. Devices,
/// sockets and pipes are left out.
///
/// # Errors
/// [`Error::Read`], [`Error::TooLarge`].
pub fn directory(from: &Path) -> Result<Vec<u8>, Error> {
    let mut archive = Vec::new();
    cpio::write(&Tree::of_directory(from)?, &mut archive)?;
    Ok(archive)
}

/// Adds an archive of plain files, each given by its path from the root and its contents. Only their owner can read them.
///
/// # Errors
/// [`Error::Write`] from `out`.
pub fn files(files: &[(String, Vec<u8>)], out: &mut impl Write) -> Result<(), Error> {
    let mut tree = Tree::default();
    for (path, bytes) in files {
        let above = Path::new(path).ancestors().skip(1);
        for directory in above.filter(|path| !path.as_os_str().is_empty()) {
            tree.add(directory, Node::Directory { mode: 0o755 });
        }
        let bytes = bytes.clone();
        tree.add(path.as_str(), Node::File { mode: 0o700, bytes });
    }
    cpio::write(&tree, out)
}

fn payload_file(
    path: &OsStr,
    args: &[OsString],
    settings: &Settings,
    flags: u32,
) -> Result<Vec<u8>, Error> {
    let env = &settings.env;
    let count = 1 + args.len() + env.len();
    if count > MAX_STRINGS {
        return Err(Error::TooMany(count));
    }
    let (args_count, env_count) = (to_u32(1 + args.len()), to_u32(env.len()));
    let mut file = payload::header(flags, args_count, env_count, settings.user).to_vec();
    for string in [settings.hostname.as_os_str(), &settings.workdir, path]
        .into_iter()
        .chain(args.iter().chain(env).map(OsString::as_os_str))
    {
        if string.as_bytes().contains(&0) {
            return Err(Error::Nul(string.to_owned()));
        }
        file.extend_from_slice(string.as_bytes());
        file.push(0);
    }
    Ok(file)
}
