//! The values of the options of `jiffy run`. An error is what to give instead.

use jiffy::kernel::Protocol;
use jiffy::memory::Pages;
use jiffy::vm::Irqchip;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::time::Duration;

/// `--memory`, in whole MiB.
pub(super) fn mebibytes(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1 << 20),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .map(|bytes| bytes >> 20)
        .ok_or("give a size such as 128M or 1G")
}

/// `--pages`.
pub(super) fn pages(text: &str) -> Result<Pages, &'static str> {
    match text {
        "auto" => Ok(Pages::Auto),
        "4k" => Ok(Pages::Small),
        "thp" => Ok(Pages::Transparent),
        "2m" => Ok(Pages::Huge),
        _ => Err("use auto, 4k, thp or 2m"),
    }
}

/// `--entry`.
pub(super) fn entry(text: &str) -> Result<Protocol, &'static str> {
    match text {
        "linux64" => Ok(Protocol::Linux64),
        "pvh" => Ok(Protocol::Pvh),
        _ => Err("use linux64 or pvh"),
    }
}

/// `--irqchip`.
pub(super) fn irqchip(text: &str) -> Result<Irqchip, &'static str> {
    match text {
        "local" => Ok(Irqchip::Local),
        "pc" => Ok(Irqchip::Pc),
        _ => Err("use local or pc"),
    }
}

/// `--timeout`.
pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or("give a number of seconds above 0")
}

/// `--cpus`.
pub(super) fn cpus(text: &str) -> Result<u8, &'static str> {
    within(text, 1..=32, "give a number of vCPUs from 1 to 32")
}

/// `--ready-fd`.
pub(super) fn descriptor(text: &str) -> Result<i32, &'static str> {
    within(text, 0.., "give an open file descriptor's number")
}

/// `--sample-hz`.
pub(super) fn hertz(text: &str) -> Result<u32, &'static str> {
    within(text, 1..=1_000_000, "give a number from 1 to 1000000")
}

/// How many there are of something: `--runs`, `--count`, `--parallel`.
pub(super) fn number(text: &str) -> Result<u32, &'static str> {
    within(text, 1.., "give a number above 0")
}

fn within<T: FromStr + PartialOrd>(
    text: &str,
    range: impl RangeBounds<T>,
    otherwise: &'static str,
) -> Result<T, &'static str> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or(otherwise)
}
