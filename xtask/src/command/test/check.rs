//! A row of the tests: its name, what it needs, and what it does.

use std::path::PathBuf;

use anyhow::Result;

use crate::base::layout::Layout;
use crate::kernel::source::SourceOptions;

/// What the checks work with.
pub(crate) struct Context<'a> {
    /// The repository.
    pub(super) layout: &'a Layout,
    /// Where kernels come from.
    pub(super) source: &'a SourceOptions,
    /// The kernel that was given to be checked, if one was.
    pub(super) kernel: Option<PathBuf>,
    /// Why this machine's KVM cannot be used, if it cannot.
    pub(super) no_kvm: Option<String>,
}

/// What a check does.
type Work = dyn Fn(&Context<'_>) -> Result<()>;

/// A row.
pub(crate) struct Check {
    pub(super) name: String,
    pub(super) needs_kvm: bool,
    /// It takes too long for every change.
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

    /// A check that is run only by who asks for such.
    pub(super) fn long(self) -> Self {
        Self { long: true, ..self }
    }

    /// A check that does not run for this reason, if there is one.
    pub(super) fn unless(self, reason: Option<String>) -> Self {
        Self {
            not: reason,
            ..self
        }
    }
}
