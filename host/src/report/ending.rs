//! Why a guest runs no longer.

/// Why a guest runs no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It wrote to the exit port, or nobody reads its output any more.
    Ended,
    /// It reset the machine.
    Reset,
    /// It halted with interrupts off, for good.
    Halted,
    /// It switched the machine off.
    PowerOff,
    /// A triple fault.
    TripleFault,
    /// KVM could not go on, for this reason.
    KvmError(String),
    /// It was stopped from outside.
    Stopped(Stop),
}

/// Why a guest was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The timeout expired.
    TimedOut,
    /// SIGINT or SIGTERM.
    Interrupted,
}
