//! A kernel: a vmlinux, or the one in a bzImage. Its headers checked, its segments placed in guest memory.

use super::bzimage;
use super::entry::{Entry, Protocol};
use super::note::{self, HEADERS};
use crate::base::cast::to_usize;
use crate::error::{BzImageFault, Error, KernelFault, Result};
use crate::layout;
use crate::memory::GuestMemory;
use crate::memory::sealed::SealedFile;
use memchr::memmem;
use object::LittleEndian;
use object::elf::{EM_X86_64, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The flag of a segment with text that a boot seldom runs (X86_SPLIT_TEXT of our kernels), one of those that ELF leaves
/// to the operating system.
const RARE: u32 = 0x0010_0000;

/// A kernel image whose headers were read and checked.
#[derive(Debug)]
pub struct Kernel {
    path: PathBuf,
    file: File,
    len: u64,
    entry: Option<u64>,
    segments: Vec<Segment>,
}

/// A loadable segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    offset: u64,
    gpa: u64,
    file_len: u64,
    memory_len: u64,
    /// Whether a boot runs little of it.
    rare: bool,
}

impl Kernel {
    /// Opens a vmlinux, or a bzImage with one in it, and checks its headers.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Kernel`] for a file that is no x86-64 kernel.
    pub fn open(path: &Path) -> Result<Self> {
        let read = |error| Error::Read {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(read(std::io::Error::other("not a regular file")));
        }
        let headers = headers(&file, metadata.len()).map_err(read)?;
        if bzimage::is_bzimage(&headers) {
            let mut vmlinux = SealedFile::new("vmlinux")?;
            vmlinux.write(&unpacked(&file, metadata.len(), path)?)?;
            let (file, len) = vmlinux.finish()?;
            let headers = self::headers(&file, len).map_err(read)?;
            return Self::of(path, (file, len), &headers);
        }
        Self::of(path, (file, metadata.len()), &headers)
    }

    /// The kernel in an ELF file that begins with these headers.
    fn of(path: &Path, (file, len): (File, u64), headers: &[u8]) -> Result<Self> {
        let (entry, segments) = parse(headers, len).map_err(|reason| refused(path, reason))?;
        Ok(Kernel {
            path: path.to_owned(),
            file,
            len,
            entry,
            segments,
        })
    }

    /// Moves the image into a memory file, which machines share.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::System`].
    pub fn in_memory(mut self) -> Result<Self> {
        let mut copy = SealedFile::new("vmlinux")?;
        copy.append(&self.file, self.len, &self.path)?;
        (self.file, self.len) = copy.finish()?;
        Ok(self)
    }

    /// Where the kernel is entered.
    ///
    /// # Errors
    /// [`Error::Kernel`] for one that cannot be entered so.
    pub fn entry(&self, protocol: Protocol) -> Result<Entry> {
        match (protocol, self.entry) {
            (Protocol::Linux64, Some(entry)) => Ok(Entry::Linux64(entry)),
            _ => match note::pvh_entry(&self.file) {
                Some(entry) => Ok(Entry::Pvh(entry)),
                None => Err(Error::Kernel {
                    path: self.path.clone(),
                    reason: KernelFault::Entry,
                }),
            },
        }
    }

    /// The whole file, empty if it can no longer be read.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut bytes = vec![0; to_usize(self.len)];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }

    /// The size of the file in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is one of ours: the linker script of our series alone marks a segment so.
    fn is_ours(&self) -> bool {
        self.segments.iter().any(|segment| segment.rare)
    }

    /// Whether it is a kernel of somebody else's that can read ACPI tables: it has messages about them.
    ///
    /// Ours have no ACPI, and are not searched; nor is what is too small for a kernel.
    #[must_use]
    pub fn reads_acpi(&self) -> bool {
        !self.is_ours() && self.len > HEADERS as u64 && self.contains(b"ACPI: ").unwrap_or(false)
    }

    /// Whether a word is in the file; `None` if it can no longer be read.
    fn contains(&self, word: &[u8]) -> Option<bool> {
        const PART: usize = 1 << 20;
        let finder = memmem::Finder::new(word);
        let mut part = vec![0; PART + word.len()];
        let mut at = 0;
        while at < self.len {
            // The next part's front is looked at too, for a word across the border.
            let end = part.len().min(to_usize(self.len - at));
            let part = &mut part[..end];
            self.file.read_exact_at(part, at).ok()?;
            if finder.find(part).is_some() {
                return Some(true);
            }
            at += PART as u64;
        }
        Some(false)
    }

    /// Places every segment; returns the end of the kernel in guest memory, its bss included.
    ///
    /// # Errors
    /// [`Error::Kernel`] when a segment lies outside memory, [`Error::Read`] when the file cannot be read.
    pub fn place(&self, memory: &mut GuestMemory) -> Result<u64> {
        let all = self.segments.iter();
        let start = all.clone().map(|segment| segment.gpa).min();
        let end = all
            .clone()
            .map(|segment| segment.gpa.saturating_add(segment.memory_len))
            .max();
        let boot = all
            .filter(|segment| !segment.rare)
            .map(|segment| segment.gpa)
            .min();
        if let (Some(start), Some(end), Some(boot)) = (start, end, boot) {
            memory.expect_kernel(start..end, boot);
        }
        let mut end = layout::HIGH_MEMORY;
        for segment in &self.segments {
            let outside = || Error::Kernel {
                path: self.path.clone(),
                reason: KernelFault::Segment {
                    gpa: segment.gpa,
                    len: segment.memory_len,
                },
            };
            let segment_end = segment
                .gpa
                .checked_add(segment.memory_len)
                .filter(|&end| segment.gpa >= layout::HIGH_MEMORY && end <= memory.low_end())
                .ok_or_else(outside)?;
            memory
                .place(&self.file, segment.offset, segment.gpa, segment.file_len)
                .map_err(|error| Error::Read {
                    path: self.path.clone(),
                    error,
                })?;
            end = end.max(segment_end);
        }
        Ok(end)
    }
}

fn refused(path: &Path, reason: KernelFault) -> Error {
    Error::Kernel {
        path: path.to_owned(),
        reason,
    }
}

/// The front of a file.
fn headers(file: &File, len: u64) -> io::Result<Vec<u8>> {
    let mut headers = vec![0; HEADERS.min(to_usize(len))];
    file.read_exact_at(&mut headers, 0)?;
    Ok(headers)
}

/// The vmlinux in a bzImage.
#[cold]
fn unpacked(file: &File, len: u64, path: &Path) -> Result<Vec<u8>> {
    if to_usize(len) > bzimage::MAX_KERNEL {
        let reason = BzImageFault::Size(to_usize(len));
        return Err(refused(path, reason.into()));
    }
    let mut bytes = vec![0; to_usize(len)];
    file.read_exact_at(&mut bytes, 0)
        .map_err(|error| Error::Read {
            path: path.to_owned(),
            error,
        })?;
    bzimage::unpack(&bytes).map_err(|reason| refused(path, reason.into()))
}

fn parse(
    headers: &[u8],
    len: u64,
) -> std::result::Result<(Option<u64>, Vec<Segment>), KernelFault> {
    let elf = |error: object::Error| KernelFault::Elf(error.to_string());
    // The class is looked at first: for another class object only says that the magic is wrong.
    if headers.starts_with(b"\x7fELF") && headers.get(4) == Some(&1) {
        return Err(KernelFault::Bits);
    }
    let header = FileHeader64::<LittleEndian>::parse(headers).map_err(elf)?;
    let machine = header.e_machine(LittleEndian);
    if machine != EM_X86_64 {
        return Err(KernelFault::Machine(machine.0));
    }
    let mut segments = Vec::new();
    for program in header
        .program_headers(LittleEndian, headers)
        .map_err(elf)?
        .iter()
        .filter(|program| program.p_type(LittleEndian) == PT_LOAD)
    {
        segments.push(segment(program, len)?);
    }
    let entry = header.e_entry(LittleEndian);
    let inside = |segment: &Segment| entry.wrapping_sub(segment.gpa) < segment.memory_len;
    let entry = segments.iter().any(inside).then_some(entry);
    Ok((entry, segments))
}

fn segment(
    program: &object::elf::ProgramHeader64<LittleEndian>,
    len: u64,
) -> std::result::Result<Segment, KernelFault> {
    let segment = Segment {
        offset: program.p_offset(LittleEndian),
        gpa: program.p_paddr(LittleEndian),
        file_len: program.p_filesz(LittleEndian),
        memory_len: program.p_memsz(LittleEndian),
        rare: program.p_flags(LittleEndian).0 & RARE != 0,
    };
    let end = segment.offset.saturating_add(segment.file_len);
    if end > len {
        return Err(KernelFault::Truncated { end, len });
    }
    if segment.file_len > segment.memory_len {
        return Err(KernelFault::Segment {
            gpa: segment.gpa,
            len: segment.file_len,
        });
    }
    Ok(segment)
}
