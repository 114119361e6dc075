//! Why a payload cannot be packed.

use jiffy_abi::payload::MAX_STRINGS;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Why a payload cannot be packed, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No directory in `PATH` has the program.
    #[error("no program {} in PATH: install it, or give its path with a slash in it", .0.display())]
    NotInPath(OsString),
    /// A program from the guest's root is not searched for, so its path has to be absolute.
    #[error("{} is not a path in the guest's root: give the program's absolute path", .0.display())]
    NotAbsolute(OsString),
    /// There is no program at the given path.
    #[error("there is no program {} on this machine{}: correct its path; one that is in the guest's root takes --in-guest, and --rootfs of cargo xtask boot",
        path.display(), leads(path, missing))]
    NoProgram {
        /// The given path.
        path: PathBuf,
        /// Where its symbolic links lead: the path that does not exist.
        missing: PathBuf,
    },
    /// A required file cannot be read.
    #[error("cannot read {}, which the guest needs: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        why: io::Error,
    },
    /// The file is not executable on this machine, so it would not be in the guest either.
    #[error("{} is not an executable file: make it one with chmod +x, or name another", .0.display())]
    NotExecutable(PathBuf),
    /// The kernel could not execute the file.
    #[error("{} is neither an ELF program nor a #! script: name one that is", .0.display())]
    NotAProgram(PathBuf),
    /// An ELF file, but for another machine.
    #[error("{} is built for {machine}, but the guest is 64-bit x86, without CONFIG_IA32_EMULATION: build it for x86-64", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// The machine that it is built for.
        machine: String,
    },
    /// A damaged ELF file.
    #[error("{} is a damaged ELF file ({why}): build or install it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A library cannot be found.
    #[error(
        "{} needs {name}, which the dynamic loader would not find: install it, or pass LD_LIBRARY_PATH", user.display()
    )]
    NoLibrary {
        /// The library's name.
        name: String,
        /// The file that needs it.
        user: PathBuf,
    },
    /// A script's interpreter is itself a script, and so on, too many times.
    #[error("{}: too many scripts interpret one another: name the last interpreter as the program", .0.display())]
    ScriptDepth(PathBuf),
    /// Symbolic links lead back to themselves.
    #[error("{}: its symbolic links go round in a circle: mend them", .0.display())]
    LinkLoop(PathBuf),
    /// The guest mounts a file system over the file.
    #[error("{} would be hidden by the file system that the guest mounts on {mount}: copy it elsewhere", path.display())]
    Hidden {
        /// The file.
        path: PathBuf,
        /// The guest's mount point.
        mount: &'static str,
    },
    /// Neither a file, a directory nor a symbolic link.
    #[error("{} is a device, pipe or socket: only files and directories can be taken along", .0.display())]
    FileType(PathBuf),
    /// Not a variable of the environment.
    #[error("--env {}: give NAME=value", .0.display())]
    Env(OsString),
    /// Not a user, or one that is not known by name.
    #[error(
        "--user {0}: give UID or UID:GID; a name is looked up in /etc/passwd of a --rootfs directory, or of this machine for its own programs"
    )]
    User(String),
    /// Not a host name.
    #[error("--hostname {}: give 1 to 64 bytes", .0.display())]
    Hostname(OsString),
    /// Not a directory in the guest.
    #[error("--workdir {}: give an absolute path in the guest", .0.display())]
    Workdir(OsString),
    /// More strings than PID 1 accepts.
    #[error("{0} arguments and environment strings, and PID 1 takes {MAX_STRINGS}: pass fewer")]
    TooMany(usize),
    /// A string with a NUL byte, which would end it early.
    #[error("the argument or environment string {0:?} has a NUL byte in it: remove it")]
    Nul(OsString),
    /// The archive format has only 32 bits for a size.
    #[error("{0} is larger than 4 GiB, more than an initramfs can hold: put it on a disk")]
    TooLarge(String),
    /// The archive cannot be written.
    #[error("cannot write the initramfs: {0}")]
    Write(#[from] io::Error),
}

/// The part of the message that says where symbolic links lead; empty if there are none.
fn leads(path: &Path, missing: &Path) -> String {
    if path == missing {
        return String::new();
    }
    format!(", where it leads to {}", missing.display())
}
