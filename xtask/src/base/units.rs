//! Numbers with units on the command line.

use std::time::Duration;

/// A duration as `--timeout` takes it.
///
/// # Errors
/// What to type instead, as for the other values.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds above 0".to_owned())
}

/// A size as `--memory` takes it, in whole MiB: a number of MiB, or with a suffix K, M or G.
///
/// # Errors
/// What to type instead.
pub(crate) fn mebibytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u64 << 20),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .map(|bytes| bytes >> 20)
        .filter(|mib| (1..1 << 20).contains(mib))
        .ok_or_else(|| "give a size such as 128M or 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_or_refused() {
        for (text, mib) in [("128", 128), ("128M", 128), ("131072K", 128), ("2g", 2048)] {
            assert_eq!(mebibytes(text), Ok(mib), "{text}");
        }
        for bad in ["", "M", "-1", "0", "1K", "1T", "99999999G"] {
            assert!(mebibytes(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "inf", "NaN", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
