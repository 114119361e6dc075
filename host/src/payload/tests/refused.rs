//! Requests that are refused, and what the errors say.

use super::{Place, check, shell, take};
use crate::payload::{Settings, with_payload};
use expect_test::expect;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;

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
