//! What several folders need and no crate offers: little-endian fields, conversions, eventfds, locks, signals, threads.

pub(crate) mod bytes;
pub(crate) mod cast;
pub(crate) mod descriptor;
pub(crate) mod event;
pub(crate) mod lock;
pub(crate) mod signals;
pub(crate) mod stop;
pub(crate) mod terminal;
pub(crate) mod thread;
