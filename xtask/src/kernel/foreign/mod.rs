//! Kernels that we did not build, such as a distribution's bzImage or a vmlinux without symbols. The runner boots a vmlinux,
//! and traces take names from its symbol table, so these kernels are converted to that.

mod elf;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiffy::bzimage;

use crate::base::digest;
use crate::base::failure::usage;
use crate::base::files::read;
use crate::base::files::{make_dir, write};
use crate::base::layout::Layout;
use crate::base::ui::Ui;

/// Increase this when the conversion changes, so that converted kernels in the cache are not used again.
const VERSION: &[u8] = b"1";

/// Converts a kernel to a vmlinux with symbols, as far as it has any. Returns the file itself if there is nothing to do.
pub(crate) fn vmlinux(layout: &Layout, ui: &Ui, kernel: &Path) -> Result<PathBuf> {
    let file = read(kernel)?;
    let packed = bzimage::is_bzimage(&file);
    if !packed && elf::has_symbols(&file) != Some(false) {
        return Ok(kernel.to_path_buf());
    }
    let dir = layout.artefacts("foreign");
    let made = dir.join(format!("{}.vmlinux", digest::of(&[VERSION, &file])));
    if made.exists() {
        return Ok(made);
    }
    let image = if packed {
        bzimage::unpack(&file).map_err(|error| {
            usage(format!(
                "{}: cannot extract the vmlinux from this bzImage: {error}",
                kernel.display()
            ))
        })?
    } else {
        file
    };
    let symbols = match elf::has_symbols(&image) {
        Some(false) => jiffy::trace::kallsyms::decode(&image),
        _ => None,
    };
    let named = symbols
        .as_ref()
        .and_then(|symbols| elf::with_symbols(&image, symbols));
    if let (Some(_), Some(symbols)) = (&named, &symbols) {
        ui.say(&format!(
            "{} symbols from the kernel's own table",
            symbols.len()
        ));
    } else if !packed {
        return Ok(kernel.to_path_buf());
    }
    make_dir(&dir)?;
    write(&made, named.as_deref().unwrap_or(&image))?;
    Ok(made)
}
