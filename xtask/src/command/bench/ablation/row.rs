//! A row of the table: a variant and what became of it.

use serde::Serialize;

use super::measure::Figures;
use super::plan::Variant;

/// A variant and what became of it.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) memory: String,
    /// Patches that are out with it.
    pub(super) with: Vec<String>,
    /// Answers of the profile that Kconfig did not take.
    pub(super) not_granted: Vec<String>,
    /// What it costs, if it boots.
    pub(super) figures: Option<Figures>,
    /// Why there are no figures.
    pub(super) failed: Option<String>,
    /// Against the boot with everything and this memory: lab microseconds, instructions, exits, pages, bytes.
    pub(super) change: Option<[Option<i64>; 5]>,
}

impl Row {
    pub(super) fn of(variant: &Variant) -> Self {
        Self {
            name: variant.name.clone(),
            what: variant.what.clone(),
            memory: variant.memory().to_owned(),
            with: Vec::new(),
            not_granted: Vec::new(),
            figures: None,
            failed: None,
            change: None,
        }
    }
}
