//! Prints the Rust declarations of a C header. `cargo xtask bindings` runs it and gives it the header.
//!
//! It is a program of its own, behind the feature `bindings`, so that building xtask needs neither bindgen nor libclang.

use std::path::Path;
use std::{env, io};

use anyhow::{Context, Result};
use bindgen::{Formatter, RustEdition, RustTarget};

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let header = arguments.next().context("usage: jiffy-bindgen HEADER")?;
    let name = Path::new(&header).file_name().unwrap_or_default();
    let name = name.to_string_lossy().replace('.', "\\.");
    let target = RustTarget::stable(85, 0).map_err(|error| anyhow::anyhow!("{error}"))?;
    bindgen::builder()
        .header(header)
        .clang_arg("--target=x86_64-unknown-linux-gnu")
        // Some headers leave it to their includers to know uint32_t; its own declarations are left out.
        .clang_args(["-include", "stdint.h"])
        .allowlist_file(format!(".*/{name}"))
        .rust_target(target)
        .rust_edition(RustEdition::Edition2024)
        .use_core()
        .generate_comments(false)
        // xtask formats them as the workspace is formatted.
        .formatter(Formatter::None)
        .generate()
        .context("reading the header with libclang")?
        .write(Box::new(io::stdout()))
        .context("writing the declarations")
}
