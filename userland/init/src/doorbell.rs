//! The first act of PID 1: telling the runner that user space is up.

use crate::{ports, sys};
use jiffy_abi::port;

/// Asks the kernel for the I/O ports and rings.
///
/// A kernel without `CONFIG_X86_IOPL_IOPERM` refuses; the `out` then faults and the kernel's panic names it, which
/// is the only way left to say so.
pub(crate) fn ring() {
    let _ = sys::iopl(3);
    ports::write(port::READY, port::READY_BYTE);
}
