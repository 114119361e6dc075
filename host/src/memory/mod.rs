//! Guest memory: one private mapping of this process, read and written through bounded copies.

pub(crate) mod files;
pub(crate) mod guest;
pub(crate) mod huge;
pub(crate) mod mapping;
pub(crate) mod pages;
pub(crate) mod paging;
pub(crate) mod sealed;
pub(crate) mod size;
mod thp;

pub use guest::GuestMemory;
pub use pages::Pages;
pub use size::MemorySize;
