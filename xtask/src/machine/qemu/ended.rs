//! How a machine ended: PID 1's verdict, and the outcome and exit status that follow from it.

use std::time::Duration;

use anyhow::{Result, bail};
use jiffy::report::Outcome;
use jiffy_abi::verdict::Verdict;

use crate::base::failure;

/// How a machine ended.
pub(crate) struct Ended {
    /// From QEMU's start to the ready doorbell; none if it never rang.
    pub(crate) ready: Option<Duration>,
    /// How the payload ended, as PID 1 reported it.
    pub(crate) verdict: Option<Verdict>,
    /// Whether it was killed at the timeout.
    pub(crate) timed_out: bool,
    /// Output of QEMU and of the guest's serial console, to explain a failure.
    pub(crate) said: String,
}

/// The outcome and the exit status of a machine that ended.
pub(crate) fn judge(ended: &Ended, payload: bool) -> Result<(Outcome, u8)> {
    Ok(match ended.verdict {
        Some(Verdict::Exit(status)) => (Outcome::Exited, status),
        Some(Verdict::Signal(signal)) => (Outcome::Exited, 128 | signal),
        Some(Verdict::Power(_)) => (Outcome::Exited, 0),
        Some(Verdict::Error(stage, errno)) => {
            return Err(failure::fault(format!(
                "PID 1 failed at {}: {}",
                stage.name(),
                std::io::Error::from_raw_os_error(errno.into())
            )));
        }
        None if ended.timed_out => (Outcome::TimedOut, failure::TIMED_OUT),
        None if ended.ready.is_some() && !payload => (Outcome::Ready, 0),
        None => {
            return Err(failure::fault(format!(
                "the guest ended without a verdict{}{}",
                if ended.said.is_empty() { "" } else { ": " },
                ended.said
            )));
        }
    })
}

/// The one verdict of a run.
pub(super) fn verdict(report: &[u8]) -> Result<Option<Verdict>> {
    let mut found = None;
    for line in report.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        let Some(verdict) = Verdict::parse(line) else {
            bail!(
                "PID 1 reported {:?}, which is no verdict",
                String::from_utf8_lossy(line)
            );
        };
        if found.replace(verdict).is_some() {
            bail!("PID 1 reported twice how its payload ended");
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_verdict_is_wanted() {
        assert_eq!(verdict(b"").unwrap(), None);
        assert_eq!(verdict(b"exit 7\n").unwrap(), Some(Verdict::Exit(7)));
        assert!(verdict(b"exit 7\nexit 7\n").is_err());
        assert!(verdict(b"hello\n").is_err());
    }
}
