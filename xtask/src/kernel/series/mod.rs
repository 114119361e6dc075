//! The patch series, and what can be done with one.

mod diff;
mod patches;
mod subset;

pub(crate) use patches::Series;
pub(crate) use subset::{Companions, Subset, Unpatched};
