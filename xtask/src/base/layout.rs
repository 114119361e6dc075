//! Paths of the repository's directories and of the artefacts under `target/`.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository, found once.
pub(crate) struct Layout {
    root: PathBuf,
    target: PathBuf,
}

impl Layout {
    /// From cargo's environment, or from the current directory upwards.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("finding the current directory")?;
        let start = env::var_os("CARGO_MANIFEST_DIR").map_or(here, PathBuf::from);
        let Some(root) = start
            .ancestors()
            .find(|dir| dir.join("kernel-patches").is_dir() && dir.join("userland").is_dir())
        else {
            bail!(
                "{} is not inside the jiffy repository; run `cargo xtask` there",
                start.display()
            );
        };
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self {
            root: root.to_path_buf(),
            target,
        })
    }

    /// The repository's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `kernel-patches/NAME`.
    pub(crate) fn patches(&self, name: &str) -> PathBuf {
        self.root.join("kernel-patches").join(name)
    }

    /// The series for the kernel that we build.
    pub(crate) fn series(&self) -> PathBuf {
        self.patches("series/6.12")
    }

    /// `target/jiffy/PROFILE`, where a profile's artefacts go.
    pub(crate) fn artefacts(&self, profile: &str) -> PathBuf {
        self.target.join("jiffy").join(profile)
    }

    /// The same for the profile's kernel without the patch series.
    pub(crate) fn unpatched(&self, profile: &str) -> PathBuf {
        self.artefacts(&format!("{profile}-unpatched"))
    }

    /// The runner.
    pub(crate) fn runner(&self) -> PathBuf {
        self.target.join("release/jiffy")
    }

    /// The program that times runners.
    pub(crate) fn stopwatch(&self) -> PathBuf {
        self.target.join("release/jiffy-stopwatch")
    }

    /// The program that plays both ends of the tests' connections.
    pub(crate) fn peer(&self) -> PathBuf {
        self.target.join("release/jiffy-peer")
    }

    /// PID 1.
    pub(crate) fn init(&self) -> PathBuf {
        self.target.join("init/jiffy-init")
    }

    /// The same program, with symbols.
    pub(crate) fn init_symbols(&self) -> PathBuf {
        self.target.join("init-symbols/jiffy-init")
    }
}
