//! One variant: a kernel or a boot to compare with the complete kernel.

use std::collections::BTreeSet;

use anyhow::Result;
use jiffy::boot::MemorySize;
use serde::Deserialize;

use crate::base::failure::usage;

/// Guest memory of variants that do not say otherwise.
pub(super) const MEMORY: &str = "128M";

/// A kernel or a boot to compare with the complete kernel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    /// For `--only` and the table.
    pub(super) name: String,
    /// One line.
    pub(super) what: String,
    /// Numbers of the patches to take out.
    #[serde(default)]
    pub(super) without: BTreeSet<String>,
    /// Lines of a .config that replace the profile's settings.
    #[serde(default)]
    pub(super) config: String,
    /// Make's variables.
    #[serde(default)]
    pub(super) make: Vec<String>,
    /// For the runner's `--cmdline`.
    #[serde(default)]
    pub(super) cmdline: String,
    /// For the runner's `--pages`.
    pub(super) pages: Option<String>,
    #[serde(default = "default_memory", rename = "memory")]
    memory: String,
    /// The part of the plan that it belongs to.
    #[serde(skip)]
    pub(super) group: Group,
}

/// A part of the plan, which `--only` can select as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Group {
    Topics,
    Patches,
    #[default]
    Tricks,
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::Topics, Self::Patches, Self::Tricks];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Patches => "patches",
            Self::Tricks => "tricks",
        }
    }
}

fn default_memory() -> String {
    MEMORY.to_owned()
}

impl Variant {
    /// The complete kernel with this memory.
    pub(super) fn base(memory: &str) -> Self {
        let name = if memory == MEMORY {
            "nothing".to_owned()
        } else {
            format!("nothing, {memory}")
        };
        Self {
            name,
            what: "all patches, the profile as it is".to_owned(),
            without: BTreeSet::new(),
            config: String::new(),
            make: Vec::new(),
            cmdline: String::new(),
            pages: None,
            memory: memory.to_owned(),
            group: Group::default(),
        }
    }

    /// The boot of a kernel without these patches.
    pub(super) fn of_patches(
        name: &str,
        what: String,
        without: BTreeSet<String>,
        group: Group,
    ) -> Self {
        Self {
            name: name.to_owned(),
            what,
            without,
            group,
            ..Self::base(MEMORY)
        }
    }

    /// Guest memory, as `--memory` takes it.
    pub(super) fn memory(&self) -> &str {
        &self.memory
    }

    /// Guest memory in MiB.
    pub(super) fn memory_mib(&self) -> Result<u64> {
        let size: MemorySize = self
            .memory
            .parse()
            .map_err(|error| usage(format!("memory: {error}")))?;
        Ok(size.mib())
    }

    /// Whether its kernel is the complete one.
    pub(super) fn boots_complete_kernel(&self) -> bool {
        self.without.is_empty() && self.config.is_empty() && self.make.is_empty()
    }

    /// Whether its kernel is built with clang.
    pub(super) fn uses_clang(&self) -> bool {
        self.make.iter().any(|word| word.starts_with("LLVM="))
    }
}
