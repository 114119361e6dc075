//! Numbers with units on the command line.

use std::time::Duration;

use anyhow::Result;

use crate::base::failure::usage;

/// A duration as `--timeout` takes it.
pub(crate) fn seconds(text: &str) -> Result<Duration> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            usage(format!(
                "--timeout {text}: give a number of seconds above 0"
            ))
        })
}

/// A size as `--memory` takes it: MiB unless it has a suffix.
pub(crate) fn mebibytes(text: &str) -> Result<u64> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'M' | b'm') => (&text[..text.len() - 1], 0),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 10),
        _ => (text, 0),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|mib| (1..1 << 20).contains(mib))
        .ok_or_else(|| usage(format!("--memory {text}: give a size such as 128M or 1G")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_or_refused() {
        assert_eq!(mebibytes("128M").unwrap(), 128);
        assert_eq!(mebibytes("2G").unwrap(), 2048);
        for bad in ["", "M", "-1", "0", "1T", "99999999G"] {
            assert!(mebibytes(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        for bad in ["0", "-1", "inf", "NaN", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
