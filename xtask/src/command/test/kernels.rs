//! Kernels that we did not build: a vmlinux is extracted from a bzImage, whatever its compression.

use std::fs;

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use super::check::{Check, Context};
use crate::base::ui::Ui;
use crate::guest::userland;
use crate::kernel::foreign;

/// How Linux's scripts/Makefile.lib compresses, and whether it appends the size.
const COMPRESSIONS: [(&str, &str, bool); 7] = [
    ("gzip", "-n -9", false),
    ("bzip2", "-9", true),
    ("xz", "--format=lzma -9", true),
    ("xz", "--check=crc32 --x86 --lzma2=dict=32MiB", true),
    ("lzop", "-9", true),
    ("lz4", "-l -9", true),
    ("zstd", "-22 --ultra", true),
];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    COMPRESSIONS
        .iter()
        .map(|(program, options, size)| {
            Check::new(format!("bzImage/{program} {options}"), move |context| {
                unpacks(context, program, options, *size)
            })
        })
        .collect()
}

fn unpacks(context: &Context<'_>, program: &str, options: &str, size: bool) -> Result<()> {
    let vmlinux = fs::read(userland::flat(context.layout)?)?;
    let sh = Shell::new()?;
    let options = options.split(' ');
    let mut payload = cmd!(sh, "{program} {options...}")
        .stdin(&vmlinux)
        .quiet()
        .output()?
        .stdout;
    if size {
        payload.extend(u32::try_from(vmlinux.len())?.to_le_bytes());
    }
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("bzImage");
    fs::write(&file, bzimage(&payload)?)?;
    let made = foreign::vmlinux(context.layout, &Ui::new(true), &file)?;
    let same = fs::read(&made)? == vmlinux;
    fs::remove_file(&made)?;
    ensure!(
        same,
        "the extracted kernel differs from the one that was compressed"
    );
    Ok(())
}

/// A bzImage whose setup code is only its header (Documentation/arch/x86/boot.rst of Linux).
fn bzimage(payload: &[u8]) -> Result<Vec<u8>> {
    const SECTOR: usize = 512;
    let mut file = vec![0; 2 * SECTOR];
    let fields: [(usize, &[u8]); 5] = [
        (0x1f1, &[1]),
        (0x1fe, &[0x55, 0xaa]),
        (0x202, b"HdrS"),
        (0x206, &0x20f_u16.to_le_bytes()),
        (0x24c, &u32::try_from(payload.len())?.to_le_bytes()),
    ];
    for (at, bytes) in fields {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
    file.extend_from_slice(payload);
    Ok(file)
}
