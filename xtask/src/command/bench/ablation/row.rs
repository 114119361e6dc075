//! A row of the table: a variant and its results.

use serde::Serialize;

use super::measure::Figures;
use super::variant::Variant;

/// How much a variant's figures differ from those of the complete kernel. Named as the figures are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Change {
    to_ready_us: Option<i64>,
    /// None unless they were counted in both.
    instructions: Option<i64>,
    exits: Option<i64>,
    pages: Option<i64>,
    kernel_bytes: Option<i64>,
}

impl Change {
    /// The difference from `base`.
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

/// A variant and its results.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) memory: String,
    /// Other patches that were taken out with it.
    pub(super) with: Vec<String>,
    /// Settings of the profile that Kconfig did not grant.
    pub(super) not_granted: Vec<String>,
    /// What it costs, if it boots.
    pub(super) figures: Option<Figures>,
    /// Why there are no figures.
    pub(super) failed: Option<String>,
    /// Compared with the complete kernel and the same memory.
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
