//! The guest's I/O ports: the contract of `jiffy-abi`, and the few of a PC that a kernel touches on its way.

use super::stdin::Stdin;
use crate::base::bytes::fill;
use jiffy_abi::{port, verdict::Verdict};

/// Reset lines of a PC: the keyboard controller's command port, and the chip set's reset register.
const KEYBOARD_COMMAND: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;
pub(crate) const RESET_CONTROL: u16 = 0xcf9;

/// What resets the machine there: the processors, at once. The second bit alone does.
pub(crate) const RESET: u8 = 0b110;
const RESET_CPU: u8 = 0b100;

/// ACPI's registers of a machine with reduced hardware, by which it is switched off; where a PC has nothing.
pub(crate) const SLEEP_CONTROL: u16 = 0x600;
pub(crate) const SLEEP_STATUS: u16 = 0x601;

/// What is written to the former: the state to enter (bits 2 to 4), and that it be entered.
pub(crate) const SLEEP_TYPE_OFF: u8 = 5;
const SLEEP_ENABLE: u8 = 1 << 5;
const SLEEP_OFF: u8 = SLEEP_TYPE_OFF << 2 | SLEEP_ENABLE;

/// Channel 2 of the PIT. Absent, it must not read as all ones: the kernel's calibration would then take
/// the counter to be running and read it 100,000 times.
const PIT_CHANNEL_2: u16 = 0x42;

/// The data port of a PC's clock. Absent, it must not read as all ones: that says that the clock is being updated, and
/// a kernel with a driver for it waits a second for the end of that.
const CLOCK_DATA: u16 = 0x71;

/// The longest line that the guest may leave unfinished on the report port, in bytes.
const REPORT_LIMIT: usize = 4096;

/// What a port access means to the run loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing to do but go on.
    Continue,
    /// PID 1 rang ready.
    Ready,
    /// PID 1 started the payload.
    Started,
    /// The guest ended the machine.
    End,
    /// The guest reset the machine.
    Reset,
    /// The guest switched the machine off.
    PowerOff,
}

/// The state behind the ports.
#[derive(Debug)]
pub(crate) struct Ports {
    stdin: Stdin,
    report: Vec<u8>,
    verdicts: Vec<Verdict>,
}

impl Ports {
    /// Ports with this input for the payload.
    #[must_use]
    pub(crate) fn new(stdin: Stdin) -> Self {
        Ports {
            stdin,
            report: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Serves an `out` of `data`, but for the payload's output.
    pub(crate) fn write(&mut self, to: u16, data: &[u8]) -> Event {
        match to {
            port::READY => match data {
                [port::READY_BYTE] => Event::Ready,
                [port::STARTED_BYTE] => Event::Started,
                _ => Event::Continue,
            },
            port::REPORT => {
                self.report(data);
                Event::Continue
            }
            port::EXIT => Event::End,
            KEYBOARD_COMMAND if data == [KEYBOARD_RESET] => Event::Reset,
            RESET_CONTROL if matches!(data, [value, ..] if value & RESET_CPU != 0) => Event::Reset,
            SLEEP_CONTROL if data == [SLEEP_OFF] => Event::PowerOff,
            _ => Event::Continue,
        }
    }

    /// Serves an `in`: fills `data`. Ports that are not there read as all ones, as on a PC.
    pub(crate) fn read(&mut self, from: u16, data: &mut [u8]) {
        match from {
            port::STDIN => self.stdin.take(data),
            port::STDIN_READY => fill(data, &self.stdin.ready().to_le_bytes()),
            PIT_CHANNEL_2 | CLOCK_DATA => data.fill(0),
            _ => data.fill(0xff),
        }
    }

    /// The guest's one verdict; `None` when it gave none or more than one.
    #[must_use]
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self.verdicts[..] {
            [verdict] => Some(verdict),
            _ => None,
        }
    }

    fn report(&mut self, data: &[u8]) {
        for &byte in data {
            if byte == b'\n' {
                self.verdicts.extend(Verdict::parse(&self.report));
                // A second verdict is an error already; a guest that continues must not fill our memory.
                self.verdicts.truncate(2);
                self.report.clear();
            } else if self.report.len() < REPORT_LIMIT {
                self.report.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Ports {
        Ports::new(Stdin::none())
    }

    #[test]
    fn one_verdict_counts_and_two_do_not() {
        let mut ports = ports();
        assert_eq!(ports.verdict(), None);
        ports.write(port::REPORT, b"noise\nexi");
        ports.write(port::REPORT, b"t 7\n");
        assert_eq!(ports.verdict(), Some(Verdict::Exit(7)));
        ports.write(port::REPORT, b"exit 0\n");
        assert_eq!(ports.verdict(), None);
    }

    #[test]
    fn an_endless_line_is_bounded() {
        let mut ports = ports();
        for _ in 0..100 {
            ports.write(port::REPORT, &[b'x'; 4096]);
        }
        assert!(ports.report.len() <= REPORT_LIMIT);
    }

    #[test]
    fn without_input_the_guest_reads_end_of_file() {
        let mut data = [0; 4];
        ports().read(port::STDIN_READY, &mut data);
        assert_eq!(u32::from_le_bytes(data), port::STDIN_EOF);
    }

    #[test]
    fn doorbell_and_resets_are_told_apart() {
        let mut ports = ports();
        for (to, byte, event) in [
            (port::READY, port::READY_BYTE, Event::Ready),
            (port::READY, port::STARTED_BYTE, Event::Started),
            (port::READY, 0, Event::Continue),
            (port::EXIT, 0, Event::End),
            (KEYBOARD_COMMAND, KEYBOARD_RESET, Event::Reset),
            (KEYBOARD_COMMAND, 0xd1, Event::Continue),
            // Linux announces the reset first.
            (RESET_CONTROL, 0x02, Event::Continue),
            (RESET_CONTROL, RESET, Event::Reset),
            (RESET_CONTROL, 0x0e, Event::Reset),
            (SLEEP_CONTROL, 0x34, Event::PowerOff),
            (SLEEP_CONTROL, 0x14, Event::Continue),
            (SLEEP_CONTROL, 0x24, Event::Continue),
            (0x80, 0, Event::Continue),
        ] {
            assert_eq!(ports.write(to, &[byte]), event, "{to:#x}");
        }
    }
}
