//! What was found of one thing, and how it is told.

use serde::Serialize;

/// What was found of one thing.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) is: String,
    pub(super) good: bool,
    /// What to change, where it is not good.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) change: &'static str,
    /// What that buys, by what we have measured or by the source named.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) buys: &'static str,
}

impl Finding {
    /// Nothing to change.
    pub(super) fn good(name: &'static str, is: impl Into<String>) -> Self {
        Self {
            name,
            is: is.into(),
            good: true,
            change: "",
            buys: "",
        }
    }

    pub(super) fn line(&self) -> String {
        let mark = if self.good { "good  " } else { "change" };
        let mut line = format!("{mark}  {}: {}", self.name, self.is);
        for (what, text) in [("to change: ", self.change), ("buys: ", self.buys)] {
            if !text.is_empty() {
                line += &format!("\n        {what}{text}");
            }
        }
        line
    }
}
