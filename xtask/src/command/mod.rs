//! The commands: a file or folder each, with its options and its run.

pub(crate) mod bench;
pub(crate) mod bindings;
pub(crate) mod boot;
pub(crate) mod build;
pub(crate) mod doctor;
pub(crate) mod patch;
pub(crate) mod prove;
pub(crate) mod test;
pub(crate) mod trace;
