//! What a guest consists of: kernel and initramfs, program, root and devices.

pub(crate) mod artefacts;
pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod disk;
pub(crate) mod payload;
pub(crate) mod rootfs;
pub(crate) mod settings;
pub(crate) mod userland;
