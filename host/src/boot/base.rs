//! What machines can share.

use super::config::Config;
use crate::error::{Error, Result};
use crate::load::acpi::Acpi;
use crate::load::entry::Entry;
use crate::load::initramfs::Initramfs;
use crate::load::kernel::Kernel;
use crate::report::details::Details;
use crate::report::{Kind, probe};
use kvm_ioctls::Kvm;
use std::mem;

/// What machines can share: KVM, the files that they start from, and the files that details of a boot are read from.
#[derive(Debug)]
pub(crate) struct Base {
    pub(super) kvm: Kvm,
    pub(super) kernel: Kernel,
    pub(super) entry: Entry,
    pub(super) initramfs: Initramfs,
    /// Whether the kernel is given ACPI tables.
    pub(super) acpi: bool,
    pub(crate) details: Option<Details>,
}

impl Base {
    /// Opens all of it, and takes the archives out of the configuration.
    ///
    /// # Errors
    /// No KVM, or files that cannot be read.
    pub(crate) fn open(config: &mut Config, details: Option<Details>) -> Result<Self> {
        let kvm = probe::open()?;
        if config.cpus > 1 && probe::kind() == Kind::Software {
            return Err(Error::EmulatedCpus(config.cpus));
        }
        let kernel = Kernel::open(&config.kernel)?;
        Ok(Base {
            kvm,
            entry: kernel.entry(config.entry)?,
            acpi: match config.acpi {
                Acpi::Auto => kernel.reads_acpi(),
                Acpi::On => true,
                Acpi::Off => false,
            },
            kernel,
            initramfs: Initramfs::open(mem::take(&mut config.initramfs))?,
            details,
        })
    }

    /// Copies the files to memory files, for many machines.
    ///
    /// # Errors
    /// A file that cannot be read, or no memory.
    pub(crate) fn in_memory(self) -> Result<Self> {
        Ok(Base {
            kernel: self.kernel.in_memory()?,
            initramfs: self.initramfs.in_memory()?,
            ..self
        })
    }
}
