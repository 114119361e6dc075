//! The vmlinux in a bzImage, the format of /boot/vmlinuz.
//!
//! Source of the layout: Documentation/arch/x86/boot.rst of Linux, "The Real-Mode Kernel Header", protocol 2.08. A vmlinux
//! is booted without any of this.

mod compression;
mod lz4;
mod lzo;

use crate::base::bytes::{array_at, u16_at, u32_at};
use crate::base::cast::to_usize;
use crate::error::BzImageFault;

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

/// Linux links no image that is larger than this without KASLR (`KERNEL_IMAGE_SIZE` in arch/x86/include/asm/page_64_types.h),
/// so that a larger size is a sign of damage. It also bounds the file.
pub const MAX_KERNEL: usize = 512 << 20;

/// Whether a file that begins with these bytes, half a KiB and a few, is a bzImage.
#[must_use]
pub fn is_bzimage(file: &[u8]) -> bool {
    array_at(file, BOOT_FLAG) == Some([0x55, 0xaa]) && array_at(file, MAGIC) == Some(*b"HdrS")
}

/// The vmlinux in a bzImage. It never takes more memory than the image says that it needs, and that is bounded.
///
/// # Errors
/// An image that is damaged, or packed in a way that Linux has not.
pub fn unpack(file: &[u8]) -> Result<Vec<u8>, BzImageFault> {
    let version = u16_at(file, VERSION).unwrap_or(0);
    if version < PAYLOAD_VERSION {
        return Err(BzImageFault::Protocol(version >> 8, version & 0xff));
    }
    let payload = payload(file).ok_or(BzImageFault::Cut)?;
    if payload.starts_with(b"\x7fELF") {
        return Ok(payload.to_vec());
    }
    compression::undo(payload, MAX_KERNEL)
}

fn payload(file: &[u8]) -> Option<&[u8]> {
    // 0 means 4, for the sake of very old boot loaders.
    let sectors = match usize::from(*file.get(SETUP_SECTORS)?) {
        0 => 4,
        sectors => sectors,
    };
    let word = |at| u32_at(file, at).map(|word| to_usize(word.into()));
    let start = word(PAYLOAD_OFFSET)?.checked_add((sectors + 1) * SECTOR)?;
    file.get(start..start.checked_add(word(PAYLOAD_LENGTH)?)?)
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
        assert!(!is_bzimage(b"\x7fELF and more"));
        assert_eq!(unpack(&file).unwrap(), b"\x7fELF and more");
    }

    #[test]
    fn damage_is_told_and_nothing_grows_beyond_its_size() {
        let error = |file: &[u8]| unpack(file).unwrap_err().to_string();
        assert!(error(&bzimage(b"what is this")).contains("unknown"));
        let mut cut = bzimage(&[0x1f, 0x8b]);
        cut.truncate(cut.len() - 1);
        assert!(error(&cut).contains("cut short"));
        assert!(error(&bzimage(b"BZh9\xff\xff\xff\xff")).contains("claims"));
        // 1000 bytes of gzip's that say they are 10.
        let mut bomb = Vec::from(include_bytes!("testdata/zeros.gz"));
        let end = bomb.len() - 4;
        bomb[end..].copy_from_slice(&10_u32.to_le_bytes());
        assert!(
            error(&bzimage(&bomb)).contains("11 bytes"),
            "{}",
            error(&bzimage(&bomb))
        );
    }
}
