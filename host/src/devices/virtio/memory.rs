//! Guest memory as the crates of rust-vmm want to see it.
//!
//! unsafe lives here because a view is made of addresses of a mapping, which the view keeps mapped.
#![allow(unsafe_code)]

use crate::base::cast::to_usize;
use crate::error::{Error, Result};
use crate::memory::GuestMemory;
use crate::memory::mapping::Mapping;
use std::ops::Deref;
use std::sync::Arc;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

/// Access to virtqueues and buffers: bounds checked, every access volatile.
pub(crate) type Ram = GuestMemoryMmap<()>;

/// A view that keeps the memory it shows.
#[derive(Clone, Debug)]
pub struct View {
    ram: Ram,
    _mapping: Arc<Mapping>,
}

impl View {
    /// A view of all of a guest's memory.
    ///
    /// # Errors
    /// None for regions that were mapped.
    pub fn new(memory: &GuestMemory) -> Result<Self> {
        let regions = memory
            .regions()
            .map(|region| {
                let builder = MmapRegionBuilder::new(to_usize(region.len))
                    .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
                    .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE);
                // SAFETY: the region is mapped at this address for its whole length, and `_mapping` keeps it so for as
                // long as the view lives.
                let mapping = unsafe { builder.with_raw_mmap_pointer(region.hva as *mut u8) }
                    .build()
                    .map_err(|error| Error::Device(format!("guest memory: {error}")))?;
                GuestRegionMmap::new(mapping, GuestAddress(region.gpa)).ok_or_else(|| {
                    Error::Device("guest memory ends above the address space".to_owned())
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(View {
            ram: Ram::from_regions(regions)
                .map_err(|error| Error::Device(format!("guest memory: {error}")))?,
            _mapping: memory.keep(),
        })
    }
}

impl Deref for View {
    type Target = Ram;

    fn deref(&self) -> &Ram {
        &self.ram
    }
}
