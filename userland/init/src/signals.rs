//! One wait for everything: a dead child (SIGCHLD), a pipe with news (SIGIO), a signal for the payload.
//!
//! PID 1 keeps every signal blocked and takes them one by one. The kernel would drop a signal that PID 1 neither
//! blocks nor handles, and a handler would need writable statics and a race-free way to wake a poll.

use crate::sys;
use jiffy_abi::power::signal_set;
use jiffy_abi::verdict::Verdict;
use rustix::process::{Pid, Signal};

const fn bit(signal: Signal) -> sys::SignalSet {
    1 << (signal.as_raw() - 1)
}

/// What PID 1 passes on to the payload.
const FORWARDED: sys::SignalSet = bit(Signal::INT) | bit(Signal::HUP) | bit(Signal::QUIT);

/// What `poweroff`, `reboot` and `halt` send PID 1.
const POWER: sys::SignalSet = signal_set();

/// What only wakes PID 1.
const NEWS: sys::SignalSet = bit(Signal::CHILD) | bit(Signal::IO);

/// Blocks every signal, so that each waits until PID 1 takes it.
pub(crate) fn block() {
    sys::block_signals(!0);
}

/// Blocks none: what a program expects to start with.
pub(crate) fn unblock() {
    sys::block_signals(0);
}

/// Waits for a signal, at most so many milliseconds, and passes it on to `payload` if that is what it is for.
///
/// # Errors
/// The verdict, if a program asked for the machine's end.
pub(crate) fn wait(payload: Pid, milliseconds: Option<u32>) -> Result<(), Verdict> {
    let Ok(number) = sys::wait_for_signal(FORWARDED | NEWS | POWER, milliseconds) else {
        return Ok(()); // the time is over
    };
    let taken = 1 << (number - 1);
    if POWER & taken != 0 {
        #[expect(clippy::cast_possible_truncation, reason = "there are 64 signals")]
        return Err(Verdict::Power(number as u8));
    }
    if FORWARDED & taken != 0 {
        // A payload that has just ended needs no signal.
        let _ = sys::kill(payload, number);
    }
    Ok(())
}
