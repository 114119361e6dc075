//! What to run: the payload file of the initramfs.
#![allow(unsafe_code)]

use crate::failed;
use core::ffi::CStr;
use core::{ptr, slice};
use jiffy_abi::payload::{self, Error};
use jiffy_abi::verdict::{Stage, Verdict};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};

pub(crate) use jiffy_abi::payload::Payload;

/// [`payload::PATH`] with the NUL that the kernel wants.
const PATH: &CStr = {
    const BYTES: [u8; payload::PATH.len() + 1] = {
        let mut bytes = [0; payload::PATH.len() + 1];
        let (path, _) = bytes.split_at_mut(payload::PATH.len());
        path.copy_from_slice(payload::PATH.as_bytes());
        bytes
    };
    match CStr::from_bytes_with_nul(&BYTES) {
        Ok(path) => path,
        Err(_) => panic!("the payload's path holds a NUL"),
    }
};

/// Maps and checks the payload file; `None` where there is none. The mapping stays.
pub(crate) fn find() -> Result<Option<Payload<'static>>, Verdict> {
    match map() {
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed(Stage::Payload)(errno)),
        Ok(file) => Payload::parse(file).map(Some).map_err(refused),
    }
}

fn map() -> rustix::io::Result<&'static [u8]> {
    let file = open(PATH, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let bytes = fstat(&file)?.st_size as usize;
    // SAFETY: a fresh private mapping of a file that nobody writes, never unmapped; an empty file is refused.
    unsafe {
        let start = mmap(
            ptr::null_mut(),
            bytes,
            ProtFlags::READ,
            MapFlags::PRIVATE,
            &file,
            0,
        )?;
        Ok(slice::from_raw_parts(start.cast(), bytes))
    }
}

fn refused(error: Error) -> Verdict {
    let errno = match error {
        Error::Count => Errno::TOOBIG,
        Error::Magic | Error::Truncated => Errno::INVAL,
    };
    failed(Stage::Payload)(errno)
}
