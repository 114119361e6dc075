//! A row of the tests: its name, its requirements and its check.

use std::path::PathBuf;

use anyhow::Result;

use crate::base::layout::Layout;
use crate::kernel::source::SourceOptions;

/// What every check is given.
pub(crate) struct Context<'a> {
    /// The repository.
    pub(super) layout: &'a Layout,
    /// The source of kernels.
    pub(super) source: &'a SourceOptions,
    /// The kernel to check, if one was given.
    pub(super) kernel: Option<PathBuf>,
    /// Why this machine's KVM cannot be used, if it cannot.
    pub(super) no_kvm: Option<String>,
}

/// The check itself.
type Work = dyn Fn(&Context<'_>) -> Result<()>;

/// A row.
pub(crate) struct Check {
    pub(super) name: String,
    pub(super) needs_kvm: bool,
    /// Whether it takes too long to run for every change.
    pub(super) long: bool,
    /// Why it cannot run, if it cannot.
    pub(super) not: Option<String>,
    pub(super) run: Box<Work>,
}

impl Check {
    /// A check that runs anywhere.
    pub(super) fn new(
        name: impl Into<String>,
        run: impl Fn(&Context<'_>) -> Result<()> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            needs_kvm: false,
            long: false,
            not: None,
            run: Box::new(run),
        }
    }

    /// A check of this machine's KVM.
    pub(super) fn on_kvm(self) -> Self {
        Self {
            needs_kvm: true,
            ..self
        }
    }

    /// Marks a check that runs only on request.
    pub(super) fn long(self) -> Self {
        Self { long: true, ..self }
    }

    /// Skips the check if there is a reason.
    pub(super) fn unless(self, reason: Option<String>) -> Self {
        Self {
            not: reason,
            ..self
        }
    }
}
