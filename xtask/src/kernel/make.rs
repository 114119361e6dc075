//! Runs the kernel's make in a fixed environment and counts its output for the progress bar.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use xshell::{Shell, cmd};

use crate::base::files::write;
use crate::base::process::follow;
use crate::base::ui::Ui;

/// Fixed values for who built the kernel and when, so that builds are reproducible. The time is that of 6.12's release.
pub(crate) const IDENTITY: &str = "KBUILD_BUILD_TIMESTAMP=Sun, 17 Nov 2024 22:15:08 +0000\n\
    KBUILD_BUILD_USER=jiffy\nKBUILD_BUILD_HOST=jiffy\nKBUILD_BUILD_VERSION=1\nLOCALVERSION=\nLC_ALL=C\nARCH=x86_64";

/// Variables in the caller's environment that would change the kernel.
const REMOVED: [&str; 8] = [
    "MAKEFLAGS",
    "CROSS_COMPILE",
    "KCFLAGS",
    "KAFLAGS",
    "KCPPFLAGS",
    "LLVM",
    "CC",
    "KBUILD_OUTPUT",
];

/// Expected number of files in a first build: that of profile `default`, rounded.
const FIRST_BUILD: u64 = 1_300;

/// The file in a build directory that holds the number of files of a complete build.
const COUNT: &str = ".jiffy-count";

/// How many lines of a failed build are shown.
const SHOWN: usize = 30;

/// A make in one build directory.
pub(crate) struct Make {
    tree: PathBuf,
    dir: PathBuf,
    jobs: usize,
    variables: Vec<String>,
}

impl Make {
    /// Builds the tree in `dir`, which must be directly in the tree, with these variables (`NAME=VALUE`).
    pub(crate) fn new(tree: &Path, dir: &Path, jobs: usize, variables: &[String]) -> Self {
        Self {
            tree: tree.to_path_buf(),
            dir: dir.to_path_buf(),
            jobs,
            variables: variables.to_vec(),
        }
    }

    /// Makes the .config: allnoconfig plus what the file asks for.
    pub(crate) fn configure(&self, requested: &Path) -> Result<()> {
        let mut make = self.command("allnoconfig")?;
        make.env("KCONFIG_ALLCONFIG", requested);
        let output = make.output().context("running make; is it installed?")?;
        if output.status.success() {
            return Ok(());
        }
        bail!(
            "make allnoconfig failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }

    /// Makes vmlinux.
    pub(crate) fn compile(&self, ui: &Ui, name: &str) -> Result<()> {
        let known = fs::read_to_string(self.dir.join(COUNT))
            .ok()
            .and_then(|count| count.trim().parse().ok());
        // How many files an incremental build compiles is not known.
        let incremental = self.dir.join("vmlinux").exists();
        let expected = if incremental {
            0
        } else {
            known.unwrap_or(FIRST_BUILD)
        };
        let mut step = ui.step(name, expected);
        let ended = follow(&mut self.command("vmlinux")?, |line| {
            // As `  CC      init/main.o`.
            if line.starts_with("  ") {
                step.advance();
            }
        })?;
        if !ended.status.success() {
            return Err(failure(name, &ended.complaints));
        }
        if !incremental {
            write(&self.dir.join(COUNT), step.count().to_string().as_bytes())?;
        }
        step.done();
        Ok(())
    }

    fn command(&self, target: &str) -> Result<Command> {
        let Self {
            tree,
            dir,
            jobs,
            variables,
        } = self;
        let out = dir
            .file_name()
            .context("a build directory without a name")?;
        let sh = Shell::new()?;
        let jobs = format!("-j{jobs}");
        let mut make: Command = cmd!(sh, "make -C {tree} O={out} {jobs} {variables...} {target}")
            .quiet()
            .into();
        for name in REMOVED {
            make.env_remove(name);
        }
        make.envs(IDENTITY.lines().filter_map(|line| line.split_once('=')));
        make.stdin(Stdio::null());
        Ok(make)
    }
}

/// The compiler's own lines, from the first error on.
fn failure(name: &str, errors: &[String]) -> anyhow::Error {
    let first = errors
        .iter()
        .position(|line| line.contains("error") || line.contains("Error"))
        .unwrap_or(0);
    let shown = errors.iter().skip(first).take(SHOWN);
    let text: Vec<&str> = shown.map(String::as_str).collect();
    anyhow!("could not {name}:\n{}", text.join("\n"))
}
