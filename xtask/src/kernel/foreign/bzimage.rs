//! Extracts the vmlinux from a bzImage, the format of /boot/vmlinuz.
//!
//! Source of the layout: Documentation/arch/x86/boot.rst of Linux, "The Real-Mode Kernel Header", protocol 2.08.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::bytes::{u16_at, u32_at};

/// Offsets in the header.
const SETUP_SECTORS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The first protocol with a payload offset.
const PAYLOAD_VERSION: u16 = 0x208;

const SECTOR: usize = 512;

/// The payload's last bytes say how large it is when decompressed.
const TRAILER: usize = 4;

/// A larger size is taken as a sign of damage.
const MAX_KERNEL: usize = 1 << 30;

/// A compression: what it begins with, the program that undoes it, and Debian's package of that.
struct Compression {
    magic: &'static [u8],
    program: &'static str,
    options: &'static str,
    package: &'static str,
    /// Whether the size at the end is part of the format.
    own_size: bool,
}

const fn compression(
    magic: &'static [u8],
    program: &'static str,
    options: &'static str,
    package: &'static str,
) -> Compression {
    Compression {
        magic,
        program,
        options,
        package,
        own_size: false,
    }
}

/// All that arch/x86/Kconfig offers (`HAVE_KERNEL_*`), with the options that scripts/Makefile.lib's settings need.
const COMPRESSIONS: [Compression; 7] = [
    Compression {
        own_size: true,
        ..compression(&[0x1f, 0x8b], "gzip", "-dc", "gzip")
    },
    compression(b"\xfd7zXZ\0", "xz", "-dc", "xz-utils"),
    compression(&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "-dcq --long=31", "zstd"),
    compression(&[0x02, 0x21, 0x4c, 0x18], "lz4", "-dcq", "lz4"),
    compression(b"BZh", "bzip2", "-dc", "bzip2"),
    compression(&[0x5d, 0, 0], "xz", "-dc --format=lzma", "xz-utils"),
    compression(&[0x89, b'L', b'Z', b'O'], "lzop", "-dc", "lzop"),
];

/// A payload and what undoes its compression.
pub(crate) struct Payload<'a> {
    bytes: &'a [u8],
    size: usize,
    compression: Option<&'static Compression>,
}

impl Payload<'_> {
    /// The program that is needed, and the package that has it; `None` for a kernel that is not compressed.
    pub(crate) fn needs(&self) -> Option<(&'static str, &'static str)> {
        self.compression.map(|kind| (kind.program, kind.package))
    }
}

fn word(file: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(file, at)?).ok()
}

/// Whether this is a bzImage.
pub(crate) fn is_bzimage(file: &[u8]) -> bool {
    file.get(BOOT_FLAG..BOOT_FLAG + 2) == Some(&[0x55, 0xaa])
        && file.get(MAGIC..MAGIC + 4) == Some(b"HdrS")
}

/// Finds a bzImage's payload.
pub(crate) fn payload(file: &[u8]) -> Result<Payload<'_>> {
    let version = u16_at(file, VERSION).unwrap_or(0);
    ensure!(
        version >= PAYLOAD_VERSION,
        "its boot protocol {}.{:02} is older than 2.08 (Linux 2.6.26)",
        version >> 8,
        version & 0xff
    );
    let find = || {
        // 0 means 4, for the sake of very old boot loaders.
        let sectors = match usize::from(*file.get(SETUP_SECTORS)?) {
            0 => 4,
            sectors => sectors,
        };
        let start = word(file, PAYLOAD_OFFSET)?.checked_add((sectors + 1) * SECTOR)?;
        file.get(start..start.checked_add(word(file, PAYLOAD_LENGTH)?)?)
    };
    let bytes = find().context("it is cut short: its payload extends beyond the file")?;
    if bytes.starts_with(b"\x7fELF") {
        return Ok(Payload {
            bytes,
            size: bytes.len(),
            compression: None,
        });
    }
    let Some(kind) = COMPRESSIONS
        .iter()
        .find(|kind| bytes.starts_with(kind.magic))
    else {
        let head = &bytes[..bytes.len().min(4)];
        bail!("its payload has an unknown compression (it begins with {head:02x?})");
    };
    let data = bytes.len().saturating_sub(TRAILER);
    let size = word(bytes, data).unwrap_or(0);
    ensure!(
        size <= MAX_KERNEL,
        "it claims to be {size} bytes when decompressed"
    );
    Ok(Payload {
        bytes: if kind.own_size { bytes } else { &bytes[..data] },
        size,
        compression: Some(kind),
    })
}

/// Decompresses it, up to the size that it claims to have.
pub(crate) fn unpack(payload: &Payload<'_>) -> Result<Vec<u8>> {
    let Some(kind) = payload.compression else {
        return Ok(payload.bytes.to_vec());
    };
    let (program, options) = (kind.program, kind.options.split(' '));
    let sh = Shell::new()?;
    let mut command: Command = cmd!(sh, "{program} {options...}").quiet().into();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("running {program}"))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut out = Vec::new();
    let limit = payload.size as u64 + 1;
    let read = thread::scope(|scope| {
        // A decompressor that stops reading has failed, or was stopped at the limit; its output shows which.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(payload.bytes)));
        // Dropping the pipe at the limit ends the program.
        stdout.map(|stdout| stdout.take(limit).read_to_end(&mut out))
    });
    child.wait().context("waiting")?;
    read.context("no stdout")?
        .with_context(|| format!("reading what {program} made"))?;
    ensure!(
        out.len() == payload.size,
        "it is damaged: {program} made {} bytes of it instead of {}",
        out.len(),
        payload.size
    );
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bzImage with this payload.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 2 * SECTOR];
        file[SETUP_SECTORS] = 1;
        file[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
        file[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        file[VERSION..VERSION + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        file[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16_u32.to_le_bytes());
        let len = u32::try_from(payload.len()).unwrap();
        file[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&len.to_le_bytes());
        file.extend([0; 16]);
        file.extend_from_slice(payload);
        file
    }

    #[test]
    fn a_kernel_that_is_not_compressed_is_taken_as_it_is() {
        let file = bzimage(b"\x7fELF and more");
        assert!(is_bzimage(&file));
        assert_eq!(
            unpack(&payload(&file).unwrap()).unwrap(),
            b"\x7fELF and more"
        );
    }

    #[test]
    fn damage_is_told_and_nothing_grows_beyond_its_size() {
        let error = |file: &[u8]| {
            let unpacked = payload(file).and_then(|payload| unpack(&payload));
            unpacked.unwrap_err().to_string()
        };
        assert!(error(&bzimage(b"what is this")).contains("unknown"));
        let mut cut = bzimage(&[0x1f, 0x8b]);
        cut.truncate(cut.len() - 1);
        assert!(error(&cut).contains("cut short"));
        assert!(error(&bzimage(b"BZh9\xff\xff\xff\xff")).contains("claims"));
        // 1000 bytes of gzip's that say they are 10.
        let mut bomb = Vec::from(include_bytes!("testdata/zeros.gz"));
        let end = bomb.len() - TRAILER;
        bomb[end..].copy_from_slice(&10_u32.to_le_bytes());
        assert!(
            error(&bzimage(&bomb)).contains("made 11 bytes"),
            "{}",
            error(&bzimage(&bomb))
        );
    }
}
