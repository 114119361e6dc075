//! A row of the table: a variant and what became of it.

use serde::Serialize;

use super::measure::Figures;
use super::plan::Variant;

/// By how much the figures of a variant are higher, or lower; named as the figures are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Change {
    to_ready_us: Option<i64>,
    /// None where they were not counted in both.
    instructions: Option<i64>,
    exits: Option<i64>,
    pages: Option<i64>,
    kernel_bytes: Option<i64>,
}

impl Change {
    /// What changes from `base`.
    pub(super) fn between(base: &Figures, figures: &Figures) -> Self {
        let (base, figures) = (base.numbers(), figures.numbers());
        let [to_ready_us, instructions, exits, pages, kernel_bytes] =
            std::array::from_fn(|at| Some(figures[at]? - base[at]?));
        Self {
            to_ready_us,
            instructions,
            exits,
            pages,
            kernel_bytes,
        }
    }

    /// In the table's order.
    pub(super) fn numbers(&self) -> [Option<i64>; 5] {
        [
            self.to_ready_us,
            self.instructions,
            self.exits,
            self.pages,
            self.kernel_bytes,
        ]
    }
}

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
    /// Against the boot with everything and this memory.
    pub(super) change: Option<Change>,
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
