//! From a kernel source to a vmlinux.

pub(crate) mod compile;
pub(crate) mod config;
pub(crate) mod foreign;
pub(crate) mod make;
pub(crate) mod series;
pub(crate) mod source;
pub(crate) mod tree;
pub(crate) mod variant;
