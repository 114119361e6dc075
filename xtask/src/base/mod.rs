//! Helpers for all other folders. Nothing here knows about kernels, guests or machines.

pub(crate) mod cache;
pub(crate) mod collect;
pub(crate) mod digest;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod install;
pub(crate) mod layout;
pub(crate) mod process;
pub(crate) mod stats;
pub(crate) mod ui;
pub(crate) mod units;
