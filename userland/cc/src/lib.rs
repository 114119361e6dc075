//! Builds one program with the C compiler, for the build scripts of the halting kernel and of the floor.

use jiffy_abi::port;
use std::env;
use std::path::Path;
use std::process::ExitCode;

/// Makes `OUT_DIR/name` of `source`, which knows the doorbell's ports, with these arguments for the driver. What goes
/// wrong is cargo's to show.
pub fn build(source: &str, name: &str, arguments: &[&str]) -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={source}");
    match compile(source, name, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn compile(source: &str, name: &str, arguments: &[&str]) -> Result<(), String> {
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
        .args(arguments)
        .args([source, "-o"])
        .arg(Path::new(&out).join(name))
        .status()
        .map_err(|why| format!("cannot run {path}: {why}"))?;
    if !status.success() {
        return Err(format!(
            "{path} could not build {source} ({status}): see its messages above"
        ));
    }
    Ok(())
}
