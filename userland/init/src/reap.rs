//! Reaping: every process without a parent is PID 1's child.

use crate::failed;
use jiffy_abi::verdict::{Stage, Verdict};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// Reaps what has ended; the payload's verdict if it was among them.
pub(crate) fn all(payload: Pid) -> Result<Option<Verdict>, Verdict> {
    let mut verdict = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == payload => verdict = Some(read(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(verdict),
            Err(errno) => return Err(failed(Stage::Wait)(errno)),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "wait(2) has eight bits for an exit status and seven for a signal"
)]
fn read(status: WaitStatus) -> Verdict {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Verdict::Exit(status as u8),
        (_, Some(signal)) => Verdict::Signal(signal as u8),
        // Neither stopped nor continued children are asked for.
        (None, None) => failed(Stage::Wait)(Errno::INVAL),
    }
}
