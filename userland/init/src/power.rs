//! The end: the verdict, then the machine off.

use crate::ports;
use jiffy_abi::port;
use jiffy_abi::verdict::{MAX_LINE, Verdict};
use rustix::system::{RebootCommand, reboot};

/// Reports how it ended. Called once.
pub(crate) fn report(verdict: Verdict) {
    // A disk may be mounted by now; the runner ends the machine without asking the kernel.
    rustix::fs::sync();
    let mut line = [0; MAX_LINE];
    ports::write_all(port::REPORT, verdict.encode(&mut line));
}

/// Ends the machine through the runner, or through the kernel where there is none; PID 1 itself never ends.
pub(crate) fn off() -> ! {
    ports::write(port::EXIT, 0);
    // Other VMMs end when their guest restarts. A kernel without power management cannot power off: it would halt for ever.
    let _ = reboot(RebootCommand::Restart);
    loop {
        rustix::event::pause();
    }
}
