//! A finding of the doctor, and how it is printed.

use serde::Serialize;

/// What was found about one aspect of the machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) is: String,
    pub(super) good: bool,
    /// What to change, unless it is good.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) change: &'static str,
    /// What the change would improve, with its source.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) buys: &'static str,
}

impl Finding {
    /// A finding with nothing to change.
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
