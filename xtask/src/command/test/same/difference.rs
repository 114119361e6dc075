//! A difference between two kernels.

use std::fmt;

/// What differs, and how.
pub(crate) struct Difference {
    /// The path, or the name of a measurement.
    pub(crate) path: String,
    /// The guest's memory, the time, and what each kernel says.
    pub(crate) what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}
