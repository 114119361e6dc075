//! What libc's calls return.

use std::io;

/// The result of a call that returns a negative number and sets errno when it fails.
pub(crate) fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
