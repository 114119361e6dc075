//! What a program expects of the host that it runs on: a name, a network with itself, its working directory.
//!
//! unsafe lives here because strings are cut from the payload.
#![allow(unsafe_code)]

use crate::packed::cut;
use crate::payload::Payload;
use crate::{failed, sys};
use jiffy_abi::verdict::{Stage, Verdict};

/// Sets it up.
pub(crate) fn set_up(payload: &Payload<'_>) -> Result<(), Verdict> {
    let mut strings = payload.bytes();
    // SAFETY: a payload has these two strings.
    let (name, workdir) = unsafe { (cut(&mut strings), cut(&mut strings)) };
    // A name that the kernel does not take is no reason to run nothing; a kernel without sockets has no network.
    let _ = sys::set_host_name(name.to_bytes());
    let _ = sys::loopback_up();
    sys::change_directory(workdir).map_err(failed(Stage::Workdir))
}
