//! The files of an archive.

use super::Error;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Where PID 1 mounts a file system no matter what the initramfs brings.
const HIDDEN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// How many symlinks a path may go through: as many as Linux allows.
const MAX_LINKS: usize = 40;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Its contents.
        bytes: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// What it holds.
        target: PathBuf,
    },
    /// A character device.
    Device {
        /// Permission bits.
        mode: u32,
        /// Major and minor number.
        number: (u32, u32),
    },
}

/// Files by their path from the root, without its slash; in order, so that each comes after its directory.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// Every file in the archive's order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// Adds one file under a path from the root, unless there is one; its directories must be there or come with it.
    pub(crate) fn add(&mut self, path: impl Into<PathBuf>, node: Node) {
        self.nodes.entry(path.into()).or_insert(node);
    }

    /// Takes the file or directory at the absolute `path` of this machine along: itself, its directories, and every
    /// symlink on the way. Gives its real path and itself.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::LinkLoop`], [`Error::Hidden`] or [`Error::FileType`], naming the file.
    pub(crate) fn take(&mut self, path: &Path) -> Result<(PathBuf, &Node), Error> {
        let mut real = PathBuf::new();
        let mut ahead = reversed(path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == Path::new("..") {
                real.pop();
                continue;
            }
            real.push(&name);
            if let Some(&mount) = HIDDEN.iter().find(|mount| real.starts_with(&mount[1..])) {
                let path = path.to_owned();
                return Err(Error::Hidden { path, mount });
            }
            let node = self
                .take_one(&real)
                .map_err(|error| behind(error, &ahead))?;
            match node {
                Node::Link { target } => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::LinkLoop(path.to_owned()));
                    }
                    let target = target.clone();
                    if target.is_absolute() {
                        real.clear();
                    } else {
                        real.pop();
                    }
                    ahead.extend(reversed(&target));
                }
                Node::Directory { .. } | Node::File { .. } | Node::Device { .. } => {}
            }
        }
        let node = self.take_one(&real)?;
        Ok((Path::new("/").join(real), node))
    }

    /// A directory with all that is in it.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn of_directory(from: &Path) -> Result<Self, Error> {
        let mut tree = Tree::default();
        let mut ahead = vec![PathBuf::new()];
        while let Some(path) = ahead.pop() {
            let real = from.join(&path);
            let failed = |why| Error::Read {
                path: real.clone(),
                why,
            };
            let Some(node) = read(&real).map_err(failed)? else {
                continue;
            };
            if let Node::Directory { .. } = node {
                for entry in fs::read_dir(&real).map_err(failed)? {
                    ahead.push(path.join(entry.map_err(failed)?.file_name()));
                }
            }
            let name = if path.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                path
            };
            tree.nodes.insert(name, node);
        }
        Ok(tree)
    }

    /// Takes one file whose directory is real.
    fn take_one(&mut self, real: &Path) -> Result<&Node, Error> {
        if !self.nodes.contains_key(real) {
            let path = Path::new("/").join(real);
            let node = read(&path).map_err(|why| Error::Read {
                path: path.clone(),
                why,
            })?;
            let node = node.ok_or(Error::FileType(path))?;
            self.nodes.insert(real.to_owned(), node);
        }
        Ok(&self.nodes[real])
    }
}

/// The error of a directory on the way, as that of what is looked for: the names `ahead` lie behind it.
fn behind(error: Error, ahead: &[PathBuf]) -> Error {
    match error {
        Error::Read { path, why } => Error::Read {
            path: ahead.iter().rev().fold(path, |path, name| path.join(name)),
            why,
        },
        other => other,
    }
}

/// The names of a path, the last first: a stack.
fn reversed(path: &Path) -> Vec<PathBuf> {
    let names = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        });
    names.collect()
}

fn read(path: &Path) -> io::Result<Option<Node>> {
    let about = fs::symlink_metadata(path)?;
    let mode = about.permissions().mode() & 0o7777;
    let kind = about.file_type();
    Ok(if kind.is_symlink() {
        Some(Node::Link {
            target: fs::read_link(path)?,
        })
    } else if kind.is_dir() {
        Some(Node::Directory { mode })
    } else if kind.is_file() {
        Some(Node::File {
            mode,
            bytes: fs::read(path)?,
        })
    } else {
        None
    })
}
