//! Descriptors that are ours to close, and those that the process was started with.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::fs::File;

/// A descriptor that stays open as long as this lives.
#[derive(Debug)]
pub enum Descriptor {
    /// Closed with this.
    Owned(OwnedFd),
    /// A standard stream of the process, which nobody closes: to duplicate it would cost a start two system calls.
    Standard(BorrowedFd<'static>),
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Owned(fd) => fd.as_fd(),
            Descriptor::Standard(fd) => *fd,
        }
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Self {
        Descriptor::Owned(fd)
    }
}

impl From<File> for Descriptor {
    fn from(file: File) -> Self {
        Descriptor::Owned(file.into())
    }
}
