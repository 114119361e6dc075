//! System packages that commands need. Missing ones are found before work begins, and installed if the user asks for it.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::base::ui::Ui;

/// What a command is about to do. Only the packages for that are required.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Compile a kernel and PID 1.
    Build,
    /// Compile a kernel with clang.
    Llvm,
    /// Run QEMU: the lab, or a boot without KVM.
    Qemu,
    /// Generate Rust from the kernel's headers.
    Bindings,
    /// Run the tests.
    Test,
    /// Run the tests whose packages exist in Debian only.
    Debian,
}

enum Sign {
    /// A program in PATH.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// A shared library, of any version.
    Library(&'static str),
}

/// A tool, how to tell that it is installed, and the Debian and Ubuntu package that contains it.
struct Tool {
    need: Need,
    sign: Sign,
    package: &'static str,
}

const fn tool(need: Need, name: &'static str, package: &'static str) -> Tool {
    Tool {
        need,
        sign: Sign::Program(name),
        package,
    }
}

const fn file(need: Need, path: &'static str, package: &'static str) -> Tool {
    Tool {
        need,
        sign: Sign::File(path),
        package,
    }
}

const TOOLS: &[Tool] = &[
    tool(Need::Build, "gcc", "gcc"),
    file(Need::Build, "/usr/include/stdio.h", "libc6-dev"),
    tool(Need::Build, "ld", "binutils"),
    tool(Need::Build, "make", "make"),
    tool(Need::Build, "flex", "flex"),
    tool(Need::Build, "bison", "bison"),
    tool(Need::Build, "bc", "bc"),
    tool(Need::Build, "perl", "perl"),
    // For objtool, which a kernel with IBT needs.
    file(Need::Build, "/usr/include/libelf.h", "libelf-dev"),
    tool(Need::Build, "patch", "patch"),
    tool(Need::Build, "tar", "tar"),
    tool(Need::Build, "xz", "xz-utils"),
    tool(Need::Llvm, "clang", "clang"),
    tool(Need::Llvm, "ld.lld", "lld"),
    tool(Need::Llvm, "llvm-ar", "llvm"),
    tool(Need::Qemu, "qemu-system-x86_64", "qemu-system-x86"),
    Tool {
        need: Need::Bindings,
        sign: Sign::Library("libclang"),
        package: "libclang1",
    },
    tool(Need::Bindings, "git", "git"),
    // libFuzzer is written in C++.
    tool(Need::Test, "g++", "g++"),
    tool(Need::Test, "git", "git"),
    tool(Need::Test, "cpio", "cpio"),
    tool(Need::Test, "curl", "curl"),
    tool(Need::Test, "mkfs.ext4", "e2fsprogs"),
    file(
        Need::Test,
        "/usr/share/doc/busybox-static",
        "busybox-static",
    ),
    // Distributions compress their kernels with these.
    tool(Need::Test, "bzip2", "bzip2"),
    tool(Need::Test, "lz4", "lz4"),
    tool(Need::Test, "lzop", "lzop"),
    tool(Need::Test, "zstd", "zstd"),
    tool(Need::Debian, "chromium", "chromium"),
];

/// Checks that the packages for these needs are there; installs missing ones if `install` is set.
///
/// # Errors
/// Lists the missing packages and the command that installs them.
pub(crate) fn ensure(ui: &Ui, needs: &[Need], packages: &[&str], install: bool) -> Result<()> {
    let mut missing: Vec<&str> = TOOLS
        .iter()
        .filter(|tool| needs.contains(&tool.need) && !tool.sign.shows())
        .map(|tool| tool.package)
        .collect();
    if install {
        missing.extend(packages);
    }
    get(ui, &missing, install)
}

fn get(ui: &Ui, missing: &[&str], install: bool) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !has_program("apt-get") {
        bail!("these are missing (Debian's names): {list}; install them with your package manager");
    }
    let sudo = if is_root()? { "" } else { "sudo " };
    let steps = [
        format!("{sudo}apt-get update"),
        format!("{sudo}apt-get install -y --no-install-recommends {list}"),
    ];
    if !install {
        bail!(
            "these packages are missing: {list}; run `{}`, or give --install",
            steps.join(" && ")
        );
    }
    for step in &steps {
        ui.say(&format!("+ {step}"));
        run(step)?;
    }
    Ok(())
}

/// Runs a package manager's command. Its output goes to stderr, since stdout is for results.
fn run(step: &str) -> Result<()> {
    let sh = Shell::new()?;
    let mut words = step.split(' ');
    let program = words.next().unwrap_or_default();
    let mut command: Command = cmd!(sh, "{program} {words...}")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .into();
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("running `{step}`"))?;
    if !status.success() {
        bail!("`{step}` failed; its message is above");
    }
    Ok(())
}

/// Whether this machine runs Debian.
pub(crate) fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian")
}

fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status").context("reading our user id")?;
    Ok(status
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0")))
}

impl Sign {
    fn shows(&self) -> bool {
        match self {
            Sign::Program(name) => has_program(name),
            Sign::File(path) => Path::new(path).exists(),
            Sign::Library(name) => has_library(name),
        }
    }
}

/// Whether the system's libraries include `NAME.so`, `NAME.so.VERSION` or `NAME-VERSION.so`.
fn has_library(name: &str) -> bool {
    let Ok(entries) = fs::read_dir("/usr/lib/x86_64-linux-gnu") else {
        return false;
    };
    entries.flatten().any(|entry| {
        let file = entry.file_name();
        let rest = file.to_str().and_then(|file| file.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['.', '-']) && rest.contains(".so"))
    })
}

/// Whether a program is in PATH.
pub(crate) fn has_program(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path)
            // Debian keeps some programs in directories that only root has in PATH.
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir| dir.join(name).is_file())
    })
}
