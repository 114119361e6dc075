//! Packs programs of this machine, and files made for the test.

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

#[test]
fn what_cannot_run_is_refused() {
    let place = Place::new();
    check(
        &place,
        take(&place.path("none/such/program")),
        expect![
            "there is no program PLACE/none/such/program on this machine: correct its path; one that is in the guest's root takes --in-guest, and --rootfs of cargo xtask boot"
        ],
    );
    symlink("none/such", place.path("link")).unwrap();
    check(
        &place,
        take(&place.path("link/program")),
        expect![
            "there is no program PLACE/link/program on this machine, where it leads to PLACE/none/such/program: correct its path; one that is in the guest's root takes --in-guest, and --rootfs of cargo xtask boot"
        ],
    );
    let script = place.file("script", 0o755, b"#!/none/such\n");
    check(
        &place,
        take(&script),
        expect![
            "cannot read /none/such, which the guest needs: No such file or directory (os error 2)"
        ],
    );
    check(
        &place,
        take(place.0.path()),
        expect!["PLACE is not an executable file: make it one with chmod +x, or name another"],
    );
    let file = place.file("plain", 0o644, b"#!/bin/sh\n");
    check(
        &place,
        take(&file),
        expect![
            "PLACE/plain is not an executable file: make it one with chmod +x, or name another"
        ],
    );
    let file = place.file("text", 0o755, b"echo\n");
    check(
        &place,
        take(&file),
        expect!["PLACE/text is neither an ELF program nor a #! script: name one that is"],
    );
    let mut arm = shell();
    arm[18] = 183;
    let file = place.file("arm", 0o755, &arm);
    check(
        &place,
        take(&file),
        expect![
            "PLACE/arm is built for 64-bit Arm, but the guest is 64-bit x86, without CONFIG_IA32_EMULATION: build it for x86-64"
        ],
    );
    let mut small = shell();
    (small[4], small[18]) = (1, 3);
    let file = place.file("small", 0o755, &small);
    check(
        &place,
        take(&file),
        expect![
            "PLACE/small is built for 32-bit x86, but the guest is 64-bit x86, without CONFIG_IA32_EMULATION: build it for x86-64"
        ],
    );
    let file = place.file("short", 0o755, &shell()[..100]);
    check(
        &place,
        take(&file),
        expect![
            "PLACE/short is a damaged ELF file (Invalid ELF program header size or alignment): build or install it again"
        ],
    );
}

#[test]
fn what_the_guest_cannot_hold_is_refused() {
    let place = Place::new();
    symlink("round", place.path("round")).unwrap();
    check(
        &place,
        take(&place.path("round")),
        expect!["PLACE/round: its symbolic links go round in a circle: mend them"],
    );
    let itself = place.path("itself");
    place.file(
        "itself",
        0o755,
        format!("#!{}\n", itself.display()).as_bytes(),
    );
    check(
        &place,
        take(&itself),
        expect![
            "PLACE/itself: too many scripts interpret one another: name the last interpreter as the program"
        ],
    );
    check(
        &place,
        take(Path::new("/proc/self/exe")),
        expect![
            "/proc/self/exe would be hidden by the file system that the guest mounts on /proc: copy it elsewhere"
        ],
    );
}

#[test]
fn strings_that_no_program_can_get_are_refused() {
    let error = |args: &[OsString]| {
        with_payload("sh".as_ref(), args, &Settings::default(), 0)
            .unwrap_err()
            .to_string()
    };
    expect![[r#"the argument or environment string "a\0b" has a NUL byte in it: remove it"#]]
        .assert_eq(&error(&["a\0b".into()]));
    expect!["1025 arguments and environment strings, and PID 1 takes 1024: pass fewer"]
        .assert_eq(&error(&vec!["".into(); 1024]));
    let missing =
        with_payload("no such program".as_ref(), &[], &Settings::default(), 0).unwrap_err();
    expect!["no program no such program in PATH: install it, or give its path with a slash in it"]
        .assert_eq(&missing.to_string());
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
