//! What a run reports, and where that comes from.

mod clock;
pub(crate) mod details;
mod ending;
pub mod probe;
mod schema;
pub(crate) mod stats;
pub mod summary;

pub use clock::Clock;
pub use ending::{EndedBy, Ending, Stop};
pub use schema::{
    Exits, FAULT, INTERRUPTED, KernelInfo, Kind, KvmInfo, Microseconds, Outcome, Report, TIMED_OUT,
};
pub use stats::Stats;
