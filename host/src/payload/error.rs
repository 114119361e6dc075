//! Why a payload cannot be packed.

use jiffy_abi::payload::MAX_STRINGS;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Why a payload cannot be packed, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No directory of `PATH` has the program.
    #[error("no program {} in PATH: install it, or give its path with a slash in it", .0.display())]
    NotInPath(OsString),
    /// A program of the guest's own is not looked for.
    #[error("{} is not a path in the guest's root: give the program's absolute path", .0.display())]
    NotAbsolute(OsString),
    /// The program is not where it was said to be.
    #[error("there is no program {} on this machine{}: correct its path; one that is in the guest's root takes --in-guest, and --rootfs of cargo xtask boot",
        path.display(), leads(path, missing))]
    NoProgram {
        /// Where it was said to be.
        path: PathBuf,
        /// Where that leads, which is not there.
        missing: PathBuf,
    },
    /// A file that is needed cannot be read.
    #[error("cannot read {}, which the guest needs: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        why: io::Error,
    },
    /// It may not be executed here, so it may not there.
    #[error("{} is not an executable file: make it one with chmod +x, or name another", .0.display())]
    NotExecutable(PathBuf),
    /// Nothing that the kernel would execute.
    #[error("{} is neither an ELF program nor a #! script: name one that is", .0.display())]
    NotAProgram(PathBuf),
    /// ELF, but not for the guest.
    #[error("{} is built for {machine}, but the guest is 64-bit x86: build it for x86-64", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// For what it is built.
        machine: String,
    },
    /// ELF, but damaged.
    #[error("{} is a damaged ELF file ({why}): build or install it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A library is nowhere.
    #[error(
        "{} needs {name}, which the dynamic loader would not find: install it, or pass LD_LIBRARY_PATH", user.display()
    )]
    NoLibrary {
        /// The library's name.
        name: String,
        /// Which file needs it.
        user: PathBuf,
    },
    /// A script's interpreter is a script, and its interpreter again.
    #[error("{}: too many scripts interpret one another: name the last interpreter as the program", .0.display())]
    ScriptDepth(PathBuf),
    /// A symlink leads to itself.
    #[error("{}: its symbolic links go round in a circle: mend them", .0.display())]
    LinkLoop(PathBuf),
    /// The guest mounts a file system over it.
    #[error("{} would be hidden by the file system that the guest mounts on {mount}: copy it elsewhere", path.display())]
    Hidden {
        /// The file.
        path: PathBuf,
        /// Where the guest mounts.
        mount: &'static str,
    },
    /// Neither file nor directory nor symlink.
    #[error("{} is a device, pipe or socket: only files and directories can be taken along", .0.display())]
    FileType(PathBuf),
    /// More than PID 1 takes.
    #[error("{0} arguments and environment strings, and PID 1 takes {MAX_STRINGS}: pass fewer")]
    TooMany(usize),
    /// A string that C cannot hold.
    #[error("the argument or environment string {0:?} has a NUL byte in it: remove it")]
    Nul(OsString),
    /// The archive's format has 32 bits for a size.
    #[error("{0} is larger than 4 GiB, more than an initramfs can hold: put it on a disk")]
    TooLarge(String),
    /// The archive cannot be written.
    #[error("cannot write the initramfs: {0}")]
    Write(#[from] io::Error),
}

/// Tells where symbolic links lead, if there are any.
fn leads(path: &Path, missing: &Path) -> String {
    if path == missing {
        return String::new();
    }
    format!(", where it leads to {}", missing.display())
}
