//! The files of an archive.

use super::Error;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Where PID 1 mounts a file system, whatever the initramfs contains.
const HIDDEN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The most symbolic links in resolving a path: Linux's limit.
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
        /// The path that it points to.
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

/// Files by path from the root, without the leading slash. They are sorted, so each comes after its directory.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// All files, in the archive's order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// Adds one file at a path from the root, unless one is there already. The caller also adds its directories.
    pub(crate) fn add(&mut self, path: impl Into<PathBuf>, node: Node) {
        self.nodes.entry(path.into()).or_insert(node);
    }

    /// Copies the file or directory at the absolute `path` of this machine, with its parent directories and every symbolic
    /// link on the way. Returns its real path and its node.
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

    /// Adds what is below the directory at the absolute path `real`, which has no symbolic links in it, as far as the names
    /// are `wanted`; returns the files. Symbolic links are copied as they are; devices, sockets and pipes are left out.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn take_below(
        &mut self,
        real: &Path,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        let mut ahead = vec![real.to_owned()];
        while let Some(path) = ahead.pop() {
            let failed = |why| Error::Read {
                path: path.clone(),
                why,
            };
            let Some(node) = read(&path).map_err(failed)? else {
                continue;
            };
            match node {
                Node::Directory { .. } => {
                    for entry in fs::read_dir(&path).map_err(failed)? {
                        let name = entry.map_err(failed)?.file_name();
                        if wanted(&name) {
                            ahead.push(path.join(name));
                        }
                    }
                }
                Node::File { .. } => files.push(path.clone()),
                Node::Link { .. } | Node::Device { .. } => {}
            }
            let name = path.strip_prefix("/").unwrap_or(&path);
            self.add(name, node);
        }
        Ok(files)
    }

    /// Adds a directory and everything in it.
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

    /// Adds one file whose directory is free of symbolic links.
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

/// Turns an error at a directory on the way into one for the full path, by appending the names `ahead`.
fn behind(error: Error, ahead: &[PathBuf]) -> Error {
    match error {
        Error::Read { path, why } => Error::Read {
            path: ahead.iter().rev().fold(path, |path, name| path.join(name)),
            why,
        },
        other => other,
    }
}

/// A path's names in reverse order, to be used as a stack.
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
