//! The guest's vsock calls.
//!
//! unsafe lives here because the standard library has no such sockets.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

use crate::sys::checked;

#[expect(clippy::cast_possible_truncation, reason = "a constant that fits")]
const FAMILY: libc::sa_family_t = libc::AF_VSOCK as libc::sa_family_t;
#[expect(
    clippy::cast_possible_truncation,
    reason = "a structure's size that fits"
)]
const LENGTH: libc::socklen_t = mem::size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// A socket that listens at a port.
pub(crate) fn listen(port: u32) -> io::Result<File> {
    let socket = socket()?;
    let (address, len) = address(libc::VMADDR_CID_ANY, port);
    // SAFETY: the address is a structure of the length told.
    unsafe {
        checked(libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            len,
        ))?;
        checked(libc::listen(socket.as_raw_fd(), 1))?;
    }
    Ok(socket)
}

/// The next connection to it.
pub(crate) fn accept(listener: &File) -> io::Result<File> {
    let fd = listener.as_raw_fd();
    // SAFETY: nothing is asked of the peer's address; the descriptor is new.
    unsafe {
        let stream = checked(libc::accept(fd, ptr::null_mut(), ptr::null_mut()))?;
        Ok(File::from_raw_fd(stream))
    }
}

/// A connection to a port of the host's.
pub(crate) fn connect(port: u32) -> io::Result<File> {
    let socket = socket()?;
    let (address, len) = address(libc::VMADDR_CID_HOST, port);
    // SAFETY: the address is a structure of the length told.
    checked(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// Says that no more will be said.
pub(crate) fn end_output(stream: &File) -> io::Result<()> {
    // SAFETY: touches no memory.
    checked(unsafe { libc::shutdown(stream.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

fn socket() -> io::Result<File> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: the descriptor is new.
    unsafe {
        Ok(File::from_raw_fd(checked(libc::socket(
            libc::AF_VSOCK,
            kind,
            0,
        ))?))
    }
}

fn address(cid: u32, port: u32) -> (libc::sockaddr_vm, libc::socklen_t) {
    // SAFETY: plain data.
    let mut address: libc::sockaddr_vm = unsafe { mem::zeroed() };
    address.svm_family = FAMILY;
    (address.svm_cid, address.svm_port) = (cid, port);
    (address, LENGTH)
}
