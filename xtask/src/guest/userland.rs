//! Builds the programs that a boot needs (PID 1, the runner, the flat kernel) and packs PID 1's initramfs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::base::files::{make_dir, write};
use crate::base::layout::Layout;
use crate::guest::payload;

fn cargo(layout: &Layout) -> Result<Shell> {
    let sh = Shell::new()?;
    sh.change_dir(layout.root());
    Ok(sh)
}

/// Builds PID 1.
pub(crate) fn init(layout: &Layout) -> Result<PathBuf> {
    pid1(layout, "init")?;
    Ok(layout.init())
}

/// Builds the same PID 1 with symbols.
pub(crate) fn init_symbols(layout: &Layout) -> Result<PathBuf> {
    pid1(layout, "init-symbols")?;
    Ok(layout.init_symbols())
}

fn pid1(layout: &Layout, profile: &str) -> Result<()> {
    let sh = cargo(layout)?;
    cmd!(
        sh,
        "cargo build --quiet --profile {profile} --package jiffy-init"
    )
    .quiet()
    .run()
    .context("building PID 1")
}

/// Builds the runner, statically linked: it starts without a dynamic loader, and the lab has no libc.
pub(crate) fn runner(layout: &Layout) -> Result<PathBuf> {
    let sh = cargo(layout)?;
    cmd!(
        sh,
        "cargo rustc --quiet --release --package jiffy --bin jiffy -- -Ctarget-feature=+crt-static -Crelocation-model=static -Clink-args=-Wl,--no-rosegment,--icf=safe"
    )
    .quiet()
    .run()
    .context("building the runner")?;
    Ok(layout.runner())
}

/// Builds the stopwatch, statically linked for the same reasons.
pub(crate) fn stopwatch(layout: &Layout) -> Result<PathBuf> {
    tool(layout, "jiffy-floor", "jiffy-stopwatch")?;
    Ok(layout.stopwatch())
}

/// Builds the tests' peer, which runs in guests and in the lab.
pub(crate) fn peer(layout: &Layout) -> Result<PathBuf> {
    tool(layout, "jiffy-peer", "jiffy-peer")?;
    Ok(layout.peer())
}

/// Builds a static program of the package.
fn tool(layout: &Layout, package: &str, program: &str) -> Result<()> {
    let sh = cargo(layout)?;
    cmd!(
        sh,
        "cargo rustc --quiet --release --package {package} --bin {program} -- -Ctarget-feature=+crt-static -Crelocation-model=static"
    )
    .quiet()
    .run()
    .with_context(|| format!("building {program}"))
}

/// Builds `ci/guest`, the test program that runs in guests. It is statically linked, so it runs in any guest.
pub(crate) fn guest(layout: &Layout) -> Result<PathBuf> {
    let sources = layout.root().join("ci/guest");
    let dir = layout.artefacts("guest");
    make_dir(&dir)?;
    let (path, aside) = (dir.join("guest"), dir.join(".guest.new"));
    let sh = Shell::new()?;
    let files: Vec<PathBuf> = sh
        .read_dir(&sources)?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|kind| kind == "c"))
        .collect();
    cmd!(
        sh,
        "cc -O2 -Wall -Wextra -Werror -static -s -o {aside} {files...}"
    )
    .quiet()
    .run()
    .context("building the guests' test program")?;
    fs::rename(&aside, &path).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Writes `target/jiffy/flat/floor`, the C program that the runner is compared with.
pub(crate) fn floor(layout: &Layout) -> Result<PathBuf> {
    let path = layout.artefacts("flat").join("floor");
    make_dir(&layout.artefacts("flat"))?;
    write(&path, jiffy_floor::FLOOR)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", path.display()))?;
    Ok(path)
}

/// Packs `target/jiffy/PROFILE/initramfs.cpio`: PID 1 and the files that it needs before it has mounted anything.
pub(crate) fn initramfs(layout: &Layout, profile: &str) -> Result<PathBuf> {
    let archive = payload::base(&init(layout)?)?;
    let dir = layout.artefacts(profile);
    make_dir(&dir)?;
    let path = dir.join("initramfs.cpio");
    if fs::read(&path).ok().as_deref() != Some(&archive) {
        write(&path, &archive)?;
    }
    Ok(path)
}

/// Writes `target/jiffy/flat/vmlinux`, the kernel that rings the doorbell and stops.
pub(crate) fn flat(layout: &Layout) -> Result<PathBuf> {
    let dir = layout.artefacts("flat");
    make_dir(&dir)?;
    let path = dir.join("vmlinux");
    write(&path, jiffy_flat::FLAT)?;
    Ok(path)
}
