//! A vmlinux as the unwinder needs it: its code, and where its functions begin and what they are called.

use crate::base::cast::to_usize;
use crate::error::{Error, Result};
use crate::explain::symbols::named;
use crate::layout::KERNEL_MAP;
use crate::load::bzimage;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};
use std::collections::HashSet;
use std::path::Path;

/// Early code runs below this, at its physical address.
const IDENTITY_END: u64 = 1 << 30;

/// `push %rbp`, and `mov %rsp,%rbp`: a compiler may put other instructions between the two.
const PUSH_BP: u8 = 0x55;
const SET_BP: [u8; 3] = [0x48, 0x89, 0xe5];

/// Where the frame is set up, in bytes from a function's start.
const PROLOGUE: usize = 48;

/// Functions looked at to tell whether a kernel keeps frame pointers.
const PROBED: usize = 4096;

/// Code of one section.
#[derive(Debug)]
struct Code {
    start: u64,
    bytes: Vec<u8>,
}

/// A vmlinux, or a user program.
#[derive(Debug, Default)]
pub struct Image {
    code: Vec<Code>,
    functions: Vec<(u64, String)>,
    /// Functions that end in a jump to another: (from, to), sorted.
    jumps: Vec<(u64, u64)>,
    frame_pointers: bool,
}

impl Image {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// [`Error::Read`]; a file that is no ELF file is an empty image.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self::parse(&read(path)?))
    }

    /// Takes what there is of an ELF file, which may be damaged.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let Ok(file) = object::File::parse(bytes) else {
            return Self::default();
        };
        let mut image = Self::default();
        let mut executable = HashSet::new();
        // In a damaged file, sections overlap or end behind the last address.
        let mut limit = bytes.len();
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
                continue;
            };
            if !sh_flags.contains(object::elf::SHF_EXECINSTR) {
                continue;
            }
            executable.insert(section.index());
            if let Ok(data) = section.data()
                && data.len() <= limit
                && section.address().checked_add(data.len() as u64).is_some()
            {
                limit -= data.len();
                image.code.push(Code {
                    start: section.address(),
                    bytes: data.to_vec(),
                });
            }
        }
        image.code.sort_by_key(|code| code.start);
        for (symbol, name) in named(&file, bytes.len()) {
            let inside = symbol
                .section_index()
                .is_some_and(|index| executable.contains(&index));
            if inside && is_function(name) {
                image.functions.push((symbol.address(), name.to_owned()));
            }
        }
        // Of several names at an address, the plainest.
        image.functions.sort_by(|a, b| {
            let key = |f: &(u64, String)| (f.0, f.1.starts_with('_'), f.1.len());
            key(a).cmp(&key(b)).then_with(|| a.1.cmp(&b.1))
        });
        image.functions.dedup_by_key(|function| function.0);
        image.jumps = image.tail_calls();
        image.frame_pointers = image.keeps_frame_pointers();
        image
    }

    /// An image of one section.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn of_parts(start: u64, bytes: Vec<u8>, functions: Vec<(u64, String)>) -> Self {
        let mut image = Image {
            code: vec![Code { start, bytes }],
            functions,
            ..Self::default()
        };
        image.jumps = image.tail_calls();
        image.frame_pointers = image.keeps_frame_pointers();
        image
    }

    /// The functions, by address.
    pub fn functions(&self) -> impl Iterator<Item = (u64, &str)> {
        self.functions
            .iter()
            .map(|(address, name)| (*address, name.as_str()))
    }

    /// Whether functions have names.
    #[must_use]
    pub fn has_symbols(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Whether functions set up a frame.
    #[must_use]
    pub fn frame_pointers(&self) -> bool {
        self.frame_pointers
    }

    /// The link address of kernel code that runs here: early code runs at its physical address.
    #[must_use]
    pub fn linked(&self, address: u64) -> u64 {
        if address < IDENTITY_END && self.code(address).is_none() {
            let linked = address + KERNEL_MAP;
            if self.code(linked).is_some() {
                return linked;
            }
        }
        address
    }

    /// The function that holds an address, and where it begins. Parts that the compiler split off count as functions.
    #[must_use]
    pub fn function(&self, address: u64) -> Option<(u64, &str)> {
        let code = self.section(address)?;
        let after = self
            .functions
            .partition_point(|(start, _)| *start <= address);
        let (start, name) = self.functions.get(after.checked_sub(1)?)?;
        (*start >= code.start).then_some((*start, name.as_str()))
    }

    /// Where a function of this name begins.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        self.functions
            .iter()
            .find(|function| function.1 == name)
            .map(|function| function.0)
    }

    /// The bytes of code from an address to its section's end.
    #[must_use]
    pub fn code(&self, address: u64) -> Option<&[u8]> {
        let code = self.section(address)?;
        code.bytes.get(to_usize(address - code.start)..)
    }

    /// Up to `N` bytes in front of an address.
    #[must_use]
    pub fn before<const N: usize>(&self, address: u64) -> Option<&[u8]> {
        let code = self.section(address.checked_sub(1)?)?;
        let end = to_usize(address - code.start);
        code.bytes.get(end.saturating_sub(N)..end)
    }

    /// The starts of the functions that this one jumps to: few, if any.
    pub fn jumps_from(&self, function: u64) -> impl Iterator<Item = u64> + '_ {
        let first = self.jumps.partition_point(|jump| jump.0 < function);
        let same = self.jumps[first..]
            .iter()
            .take_while(move |jump| jump.0 == function);
        same.map(|jump| jump.1)
    }

    /// Jumps (e9, or 0f 8x, with 32 bits of offset) from one function to the start of another. Bytes that only look
    /// like one seldom lead to a function's start.
    fn tail_calls(&self) -> Vec<(u64, u64)> {
        let mut jumps = Vec::new();
        for code in &self.code {
            let mut conditional = false;
            for (at, window) in code.bytes.windows(5).enumerate() {
                let [opcode, offset @ ..] = window else { break };
                let jump = *opcode == 0xe9 || (conditional && opcode & 0xf0 == 0x80);
                conditional = *opcode == 0x0f;
                let Ok(offset) = offset.try_into().map(i32::from_le_bytes) else {
                    break;
                };
                if !jump {
                    continue;
                }
                let from = code.start + at as u64;
                let to = (from + 5).wrapping_add_signed(i64::from(offset));
                let known = self
                    .functions
                    .binary_search_by_key(&to, |function| function.0)
                    .is_ok();
                if let (true, Some((function, _))) = (known, self.function(from))
                    && function != to
                {
                    jumps.push((function, to));
                }
            }
        }
        jumps.sort_unstable();
        jumps.dedup();
        jumps
    }

    fn section(&self, address: u64) -> Option<&Code> {
        // Most words of a stack are no code at all.
        if address < self.code.first()?.start {
            return None;
        }
        let after = self.code.partition_point(|code| code.start <= address);
        let code = self.code.get(after.checked_sub(1)?)?;
        (address - code.start < code.bytes.len() as u64).then_some(code)
    }

    /// Where a function pushes RBP and where it sets it, in bytes from its start; `None` for one without a frame.
    #[must_use]
    pub(super) fn prologue(&self, function: u64) -> Option<(usize, usize)> {
        let code = self.code(function)?;
        let head = &code[..code.len().min(PROLOGUE)];
        let set = head
            .windows(SET_BP.len())
            .position(|bytes| bytes == SET_BP)?;
        let push = head[..set].iter().rposition(|&byte| byte == PUSH_BP)?;
        Some((push, set))
    }

    /// A kernel without frame pointers sets RBP in next to no function, one with them in all but those that call nothing,
    /// those in assembly, and the cold parts of others.
    fn keeps_frame_pointers(&self) -> bool {
        let probed = self.functions.iter().take(PROBED);
        let (with, all) = probed.fold((0_u32, 0_u32), |(with, all), (start, _)| {
            (with + u32::from(self.prologue(*start).is_some()), all + 1)
        });
        with > all / 4
    }
}

/// The whole of a file, or the vmlinux in a bzImage.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::read(path).map_err(|error| Error::Read {
        path: path.to_owned(),
        error,
    })?;
    if !bzimage::is_bzimage(&file) {
        return Ok(file);
    }
    bzimage::unpack(&file).map_err(|reason| Error::Kernel {
        path: path.to_owned(),
        reason: reason.into(),
    })
}

/// Symbols in code that are no functions: padding in front of them, and the compiler's labels.
fn is_function(name: &str) -> bool {
    !(name.is_empty()
        || name.starts_with("__pfx_")
        || name.starts_with("__cfi_")
        || name.starts_with(".L"))
}
