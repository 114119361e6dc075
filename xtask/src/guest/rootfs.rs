//! `--rootfs`: the guest's root from a directory, a tar archive, or an ext4 image.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::base::digest;
use crate::base::failure::usage;
use crate::base::files::{existing, make_dir, write};
use crate::base::layout::Layout;
use crate::guest::disk::split;

/// Where an ext file system has its magic number, and that number (fs/ext4/ext4.h of the kernel).
const EXT_MAGIC_AT: usize = 1024 + 56;
const EXT_MAGIC: [u8; 2] = 0xef53_u16.to_le_bytes();

/// A root in a form that the runner takes.
pub(crate) enum Root {
    /// A disk image, with settings appended.
    Disk(OsString),
    /// A cpio archive, to be unpacked before PID 1's own.
    Archive(PathBuf),
}

impl Root {
    /// Finds out what the user gave, and packs a directory or a tar archive.
    pub(crate) fn find(layout: &Layout, given: &Path) -> Result<Self> {
        let (file, settings) = split(given.as_os_str());
        let path = existing("--rootfs", Path::new(file))?;
        if path.is_dir() {
            refuse_image(&path, &path)?;
            return archive(layout, &path, &path);
        }
        if is_ext(&path)? {
            let mut disk = path.into_os_string();
            disk.push(std::ffi::OsStr::from_bytes(settings));
            return Ok(Root::Disk(disk));
        }
        let tree = tempfile::tempdir().context("making a directory to unpack to")?;
        let (sh, to) = (Shell::new()?, tree.path());
        let unpacked = cmd!(sh, "tar --extract --file {path} --directory {to}")
            .quiet()
            .ignore_stderr()
            .run();
        if unpacked.is_err() {
            return Err(usage(format!(
                "--rootfs {}: neither a directory, nor a tar archive, nor an ext4 image",
                path.display()
            )));
        }
        refuse_image(to, &path)?;
        archive(layout, to, &path)
    }
}

/// Packs a tree to a file named after its origin. The file is permanent, since the runner may replace this process.
fn archive(layout: &Layout, tree: &Path, from: &Path) -> Result<Root> {
    let bytes = jiffy::payload::directory(tree).context("packing the root")?;
    let dir = layout.artefacts("rootfs");
    make_dir(&dir)?;
    let name = digest::of(&[from.as_os_str().as_encoded_bytes()]);
    let file = dir.join(format!("{name}.cpio"));
    write(&file, &bytes)?;
    Ok(Root::Archive(file))
}

/// Refuses a container image, which has a root only when its layers have been unpacked over each other. `tree` is what was
/// found in `given`.
fn refuse_image(tree: &Path, given: &Path) -> Result<()> {
    let kind = if tree.join("oci-layout").is_file() {
        "an OCI image"
    } else if tree.join("manifest.json").is_file() && !tree.join("bin").exists() {
        "an image of `docker save`"
    } else {
        return Ok(());
    };
    Err(usage(format!(
        "--rootfs {}: this is {kind}, with layers instead of a root. Make a root of it, as by `docker load`, `docker create \
         --name NAME IMAGE` and `docker export NAME > root.tar` (podman has the same commands), and give root.tar",
        given.display()
    )))
}

fn is_ext(path: &Path) -> Result<bool> {
    let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut start = Vec::new();
    file.take(EXT_MAGIC_AT as u64 + 2)
        .read_to_end(&mut start)
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(start.get(EXT_MAGIC_AT..) == Some(&EXT_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_images_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let refused =
            || refuse_image(dir.path(), Path::new("given.tar")).map_err(|e| e.to_string());
        assert!(refused().is_ok());
        fs::write(dir.path().join("manifest.json"), "[]").unwrap();
        assert!(refused().unwrap_err().contains("`docker save`"));
        fs::write(dir.path().join("oci-layout"), "{}").unwrap();
        assert!(refused().unwrap_err().contains("an OCI image"));
    }
}
