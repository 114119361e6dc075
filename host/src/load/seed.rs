//! Random bytes for a guest whose processor has no instruction for them.

use crate::error::{Result, system};
use rustix::rand::{GetRandomFlags, getrandom};
use std::arch::x86_64::__cpuid;

/// Leaf 1, ECX: RDRAND.
const RDRAND: u32 = 1 << 30;

/// Bytes for the guest's random number generator; none where its processor gives it some.
///
/// # Errors
/// [`crate::Error::System`].
pub(crate) fn needed() -> Result<Option<[u8; 32]>> {
    if __cpuid(1).ecx & RDRAND != 0 {
        return Ok(None);
    }
    let mut seed = [0; 32];
    getrandom(&mut seed, GetRandomFlags::empty()).map_err(system("getrandom"))?;
    Ok(Some(seed))
}
