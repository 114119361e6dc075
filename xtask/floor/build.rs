//! Compiles the yardstick with the C compiler's driver.

use jiffy_abi::port;
use std::env;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=floor.c");
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    let out = env::var("OUT_DIR").map_err(|why| format!("OUT_DIR: {why}"))?;
    let compiler = cc::Build::new()
        .try_get_compiler()
        .map_err(|why| format!("no C compiler found ({why}): install gcc or clang, or set CC"))?;
    let path = compiler.path().display().to_string();
    let status = compiler
        .to_command()
        .args([
            format!("-DREADY={}", port::READY),
            format!("-DREADY_BYTE={}", port::READY_BYTE),
            format!("-DEXIT={}", port::EXIT),
        ])
        // Static, at a fixed address: nothing is loaded or relocated, and the lab has no libc.
        .args([
            "-O2",
            "-Wall",
            "-Werror",
            "-static",
            "-no-pie",
            "-Wl,--strip-all",
        ])
        .args(["floor.c", "-o"])
        .arg(Path::new(&out).join("floor"))
        .status()
        .map_err(|why| format!("cannot run {path}: {why}"))?;
    if !status.success() {
        return Err(format!(
            "{path} could not compile floor.c ({status}): see its messages above"
        ));
    }
    Ok(())
}
