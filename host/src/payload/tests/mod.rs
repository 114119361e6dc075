//! Packs programs of this machine, and files made for the test.

mod refused;

use super::program;
use super::search::Libraries;
use super::tree::{Node, Tree};
use super::{Error, Settings, base, with_payload};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A temporary directory and helpers that fill it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(TempDir::with_prefix("payload").unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, mode: u32, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The part of the tree below this directory, a line per file.
    fn listing(&self, tree: &Tree) -> String {
        let below = self.0.path().strip_prefix("/").unwrap();
        let lines = tree.nodes().filter_map(|(path, node)| {
            let path = path.strip_prefix(below).ok()?.display();
            Some(match node {
                Node::Directory { .. } => format!("{path}/\n"),
                Node::File { mode, bytes } => format!("{path} {mode:o} {} bytes\n", bytes.len()),
                Node::Link { target } => format!("{path} -> {}\n", target.display()),
                Node::Device { .. } => format!("{path} device\n"),
            })
        });
        lines.collect()
    }
}

fn take(path: &Path) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    program::take(&mut tree, path, &Libraries::new(&[]))?;
    Ok(tree)
}

fn holds(tree: &Tree, name: &str) -> bool {
    tree.nodes()
        .any(|(path, _)| path.file_name() == Some(OsStr::new(name)))
}

/// Checks the message of an expected error, without the directory's random name.
fn check(place: &Place, result: Result<Tree, Error>, expected: Expect) {
    let message = result.unwrap_err().to_string();
    expected.assert_eq(&message.replace(place.0.path().to_str().unwrap(), "PLACE"));
}

fn shell() -> Vec<u8> {
    fs::read("/bin/sh").unwrap()
}

#[test]
fn the_base_is_what_cpio_reads() {
    let mut archive = Vec::new();
    base(b"\x7fELF...", &mut archive).unwrap();
    assert_eq!(archive.len() % 4, 0);
    let Ok(mut cpio) = Command::new("cpio")
        .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: no cpio here");
        return;
    };
    cpio.stdin.take().unwrap().write_all(&archive).unwrap();
    let listing = cpio.wait_with_output().unwrap();
    expect![[r#"
        drwxr-xr-x   1 0        0               0 Jan  1  1970 dev
        crw-------   1 0        0          5,   1 Jan  1  1970 dev/console
        -rwxr-xr-x   1 0        0               7 Jan  1  1970 init
    "#]]
    .assert_eq(std::str::from_utf8(&listing.stdout).unwrap());
}

#[test]
fn a_dynamic_program_brings_its_loader_and_libraries() {
    let tree = take(Path::new("/bin/sh")).unwrap();
    for name in ["sh", "libc.so.6", "ld-linux-x86-64.so.2"] {
        assert!(holds(&tree, name), "{name}");
    }
}

#[test]
fn the_same_request_makes_the_same_archive() {
    let pack = || {
        with_payload(
            "sh".as_ref(),
            &["-c".into()],
            &Settings::with_env(vec!["A=1".into()]),
            1,
        )
        .unwrap()
    };
    let archive = pack();
    assert_eq!(archive, pack());
    assert_eq!(archive.len() % 4, 0);
}

#[test]
fn symlinks_come_along_with_what_they_lead_to() {
    let place = Place::new();
    let program = place.file("real/program", 0o755, &shell());
    symlink("../real/./program", place.path("real/relative")).unwrap();
    symlink(place.path("real/relative"), place.path("absolute")).unwrap();
    symlink("real", place.path("directory")).unwrap();
    let path = place.path("directory/../absolute");
    let mut tree = Tree::default();
    assert_eq!(tree.take(&path).unwrap().0, program.canonicalize().unwrap());
    let size = shell().len().to_string();
    expect![[r#"
        /
        absolute -> PLACE/real/relative
        directory -> real
        real/
        real/program 755 SIZE bytes
        real/relative -> ../real/./program
    "#]]
    .assert_eq(
        &place
            .listing(&tree)
            .replace(place.0.path().to_str().unwrap(), "PLACE")
            .replace(&size, "SIZE"),
    );
}

#[test]
fn a_script_brings_its_interpreter() {
    let place = Place::new();
    let script = place.file("script", 0o755, b"#! /bin/sh -e\nexit 0\n");
    assert!(holds(&take(&script).unwrap(), "libc.so.6"));
    let script = place.file("by-env", 0o755, b"#!/usr/bin/env -S A=1 sh -e\nexit 0\n");
    let tree = take(&script).unwrap();
    assert!(holds(&tree, "env") && holds(&tree, "sh"));
}

#[test]
fn a_library_is_found_by_the_guests_environment() {
    let place = Place::new();
    // A program that needs a renamed library, and that library.
    let program = place.file("program", 0o755, &renamed(&shell()));
    check(
        &place,
        take(&program),
        expect![[
            "PLACE/program needs libq.so.6, which the dynamic loader would not find: install it, or pass LD_LIBRARY_PATH"
        ]],
    );
    let libc = fs::canonicalize(Path::new("/lib/x86_64-linux-gnu/libc.so.6")).unwrap();
    place.file("lib/libq.so.6", 0o644, &fs::read(libc).unwrap());
    let variable = OsString::from(format!("LD_LIBRARY_PATH={}", place.path("lib").display()));
    let mut tree = Tree::default();
    program::take(&mut tree, &program, &Libraries::new(&[variable])).unwrap();
    assert!(holds(&tree, "libq.so.6"));
}

/// The file with its need of libc.so.6 renamed.
fn renamed(bytes: &[u8]) -> Vec<u8> {
    let name = b"\0libc.so.6\0";
    let at = bytes
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + name.len()].copy_from_slice(b"\0libq.so.6\0");
    bytes
}

proptest! {
    #[test]
    fn damaged_programs_are_read_or_refused(places in prop::collection::vec((0_usize..4096, any::<u8>()), 1..20)) {
        let mut bytes = shell();
        for (at, byte) in places {
            bytes[at] = byte;
        }
        let _ = super::elf::needs(Path::new("sh"), &bytes);
    }
}
