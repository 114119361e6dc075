//! Assembles and links the halting kernel with the C compiler's driver.

use jiffy_abi::port;
use std::env;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=flat.S");
    println!("cargo::rerun-if-changed=flat.ld");
    match link() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn link() -> Result<(), String> {
    let out = env::var("OUT_DIR").map_err(|why| format!("OUT_DIR: {why}"))?;
    let compiler = cc::Build::new()
        .try_get_compiler()
        .map_err(|why| format!("no C compiler found ({why}): install gcc or clang, or set CC"))?;
    let status = compiler
        .to_command()
        .args([
            format!("-DREADY={}", port::READY),
            format!("-DREADY_BYTE={}", port::READY_BYTE),
            format!("-DEXIT={}", port::EXIT),
        ])
        .args([
            // No libc, no start files, no dynamic loader, and a fixed address.
            "-nostdlib",
            "-static",
            "-no-pie",
            // The script says what is in the file; nothing else is wanted.
            "-Wl,--script=flat.ld",
            "-Wl,--build-id=none",
            // File offsets need not agree with addresses modulo a page: a VMM reads the file, it does not map it.
            "-Wl,--nmagic",
            // Neither symbols nor section names are of use to a VMM.
            "-Wl,--strip-all",
            "flat.S",
            "-o",
        ])
        .arg(Path::new(&out).join("flat"))
        .status()
        .map_err(|why| format!("cannot run {}: {why}", compiler.path().display()))?;
    if !status.success() {
        let path = compiler.path().display();
        return Err(format!(
            "{path} could not link flat.S ({status}): see its messages above"
        ));
    }
    Ok(())
}
