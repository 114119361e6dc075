//! The exit status of a command that fails, which scripts depend on.

use std::fmt;
use std::process::ExitCode;

/// The command could not do its work.
pub(crate) const FAILED: u8 = 1;
/// The command was used wrongly.
pub(crate) const USAGE: u8 = 2;
/// The guest timed out.
pub(crate) const TIMED_OUT: u8 = 124;
/// The runner or the guest is at fault.
pub(crate) const FAULT: u8 = 125;

/// An error with a status of its own.
#[derive(Debug)]
struct Failure {
    status: u8,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error of the caller, such as an unknown profile or a missing file. Status 2.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failure {
        status: USAGE,
        message: message.into(),
    })
}

/// An error of the runner or the guest. Status 125.
pub(crate) fn fault(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failure {
        status: FAULT,
        message: message.into(),
    })
}

/// Prints the error as one line and gives its status.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    crate::base::ui::complain(&format!("{error:#}"));
    ExitCode::from(status(error))
}

fn status(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(FAILED, |failure| failure.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn usage_keeps_its_status_under_context() {
        let error = Err::<(), _>(usage("no profile"))
            .context("building")
            .unwrap_err();
        assert_eq!(status(&error), USAGE);
        assert_eq!(status(&anyhow::anyhow!("disk full")), FAILED);
    }
}
