//! The patch series: reading it, applying it, and taking patches out of it.

mod diff;
mod patches;
mod subset;

pub(crate) use patches::{Series, Staged};
pub(crate) use subset::{Companions, Subset, Unpatched};
