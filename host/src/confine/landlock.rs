//! Landlock (Documentation/userspace-api/landlock.rst): what of files, ports and processes is out of reach for good, whoever
//! the process is and whatever its root holds. Older kernels know fewer of the rights, or have no Landlock.

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use std::io;

/// The newest version whose rights are forbidden. Rights that an older kernel does not know are left out.
const NEWEST: ABI = ABI::V6;

/// Forbids this thread, and those that it starts later, everything that the kernel's Landlock knows, except the removal of
/// files beneath the root: vsock removes its socket. Does nothing where there is no Landlock. Needs `no_new_privs`.
///
/// # Errors
/// The kernel's error.
pub(super) fn restrict() -> io::Result<()> {
    let root = PathFd::new("/").map_err(io::Error::other)?;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rule(PathBeneath::new(root, AccessFs::RemoveFile)))
        .and_then(|ruleset| ruleset.restrict_self());
    ruleset.map_err(io::Error::other)?;
    Ok(())
}

/// Whether the kernel has Landlock.
#[cfg(test)]
pub(super) fn is_there() -> bool {
    use landlock::{CompatLevel, Compatible};
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::RemoveFile)
        .and_then(Ruleset::create)
        .is_ok()
}
