//! A kernel with a deliberate delay: an initcall of a vmlinux, replaced by a loop.

use anyhow::{Context as _, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol};

/// The image with this function counting down, and then returning 0.
///
/// # Errors
/// For a function that is not there, or too small.
pub(crate) fn initcall(vmlinux: &[u8], name: &str, rounds: u32) -> Result<Vec<u8>> {
    let file = object::File::parse(vmlinux).context("reading the kernel")?;
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name() == Ok(name))
        .with_context(|| format!("this kernel has no {name}"))?;
    let section = symbol
        .section_index()
        .context("the function is in no section")?;
    let section = file.section_by_index(section)?;
    let (start, _) = section
        .file_range()
        .context("the function's section has no bytes in the file")?;
    let code = delay(rounds);
    ensure!(
        symbol.size() >= code.len() as u64,
        "{name} has {} bytes, too few for the loop",
        symbol.size()
    );
    let at = usize::try_from(start + (symbol.address() - section.address()))?;
    let mut slow = vmlinux.to_vec();
    slow.get_mut(at..at + code.len())
        .context("the function is beyond the end of the file")?
        .copy_from_slice(&code);
    Ok(slow)
}

fn delay(rounds: u32) -> Vec<u8> {
    let [a, b, c, d] = rounds.to_le_bytes();
    vec![
        0xf3, 0x0f, 0x1e, 0xfa, // endbr64
        0xb9, a, b, c, d, // mov $rounds, %ecx
        0xff, 0xc9, // 1: dec %ecx
        0x75, 0xfc, // jnz 1b
        0x31, 0xc0, // xor %eax, %eax
        0xc3, // ret
    ]
}
