//! The signals by which programs ask PID 1 to end the machine: busybox's and sysvinit's `halt`, `poweroff` and `reboot`, and
//! systemd's, which are real-time signals (systemd(1), SIGRTMIN+3 to SIGRTMIN+5 as glibc counts them).

/// A way to end a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// `halt`.
    Halt,
    /// `poweroff`.
    PowerOff,
    /// `reboot`.
    Restart,
}

/// Each signal and what it asks for.
pub const SIGNALS: [(u8, Power); 6] = [
    (10, Power::Halt),
    (12, Power::PowerOff),
    (15, Power::Restart),
    (37, Power::Halt),
    (38, Power::PowerOff),
    (39, Power::Restart),
];

/// What a signal asks for.
#[must_use]
pub fn of_signal(signal: u8) -> Option<Power> {
    let mut all = SIGNALS.into_iter();
    all.find(|(number, _)| *number == signal)
        .map(|(_, power)| power)
}

/// [`SIGNALS`] as a kernel's signal set: bit `n - 1` for signal `n`.
#[must_use]
pub const fn signal_set() -> u64 {
    let (mut set, mut at) = (0, 0);
    while at < SIGNALS.len() {
        set |= 1 << (SIGNALS[at].0 - 1);
        at += 1;
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_holds_the_signals_that_ask() {
        for signal in 1..=64 {
            let held = signal_set() & (1 << (signal - 1)) != 0;
            assert_eq!(held, of_signal(signal).is_some(), "{signal}");
        }
    }
}
