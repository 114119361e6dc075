//! What a guest boots and has: its files, its program, its devices.

pub(crate) mod artefacts;
pub(crate) mod devices;
pub(crate) mod payload;
pub(crate) mod rootfs;
pub(crate) mod userland;
