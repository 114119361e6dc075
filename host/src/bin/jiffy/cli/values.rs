//! The numbers among the values of `jiffy run`'s options. Errors tell the user what to give instead.

use jiffy::ValueError;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::time::Duration;

/// `--timeout`.
pub(super) fn seconds(text: &str) -> Result<Duration, ValueError> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| ValueError::new(text, "a number of seconds above 0"))
}

/// `--cpus`.
pub(super) fn cpus(text: &str) -> Result<u8, ValueError> {
    within(text, 1..=32, "a number of vCPUs from 1 to 32")
}

/// `--ready-fd`.
pub(super) fn descriptor(text: &str) -> Result<i32, ValueError> {
    within(text, 0.., "the number of an open file descriptor")
}

/// `--sample-hz`.
pub(super) fn hertz(text: &str) -> Result<u32, ValueError> {
    within(text, 1..=1_000_000, "a number from 1 to 1000000")
}

/// A number of things: `--runs`, `--count`, `--parallel`.
pub(super) fn number(text: &str) -> Result<u32, ValueError> {
    within(text, 1.., "a number above 0")
}

fn within<T: FromStr + PartialOrd>(
    text: &str,
    range: impl RangeBounds<T>,
    expected: &'static str,
) -> Result<T, ValueError> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| ValueError::new(text, expected))
}
