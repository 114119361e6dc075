//! Links PID 1 without libc, each linker flag with its reason.
//!
//! Only profile `init` (the one with `opt-level = "z"`) makes PID 1. Any other profile checks and builds the same
//! code as an ordinary program: there, other members of the workspace turn on rustix's `std` feature, and std
//! brings an entry point and a panic handler of its own.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=init.ld");
    println!("cargo::rustc-check-cfg=cfg(pid1)");
    if env::var("OPT_LEVEL").as_deref() != Ok("z") {
        return;
    }
    println!("cargo::rustc-cfg=pid1");
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let script = format!("-Wl,--script={root}/init.ld");
    for flag in [
        // No crt1.o, no libc: `_start` is ours and nothing runs before it.
        "-nostartfiles",
        "-nostdlib",
        // rustc asks for a PIE; at a fixed address there is nothing to relocate and no dynamic section.
        "-static",
        "-no-pie",
        // One read-only segment; the script says what is in it and refuses writable data.
        &script,
        // Nobody looks PID 1 up by its build id, and nothing unwinds it.
        "-Wl,--build-id=none",
        "-Wl,--no-eh-frame-hdr",
        // Nothing is writable, so nothing has to be made read-only after relocation.
        "-Wl,-z,norelro",
    ] {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
}
