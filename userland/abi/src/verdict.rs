//! How a guest's run ended: one line of ASCII on [`crate::port::REPORT`], once.
//!
//! ```text
//! exit 7            the payload exited with status 7
//! signal 11         the payload was ended by signal 11
//! power 12          a program sent PID 1 signal 12, by which it asks it to end the machine
//! error mount 19    PID 1 could not do what it names, for errno 19
//! ```

/// The longest line, newline included, in bytes.
pub const MAX_LINE: usize = 64;

/// What PID 1 was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Creating a mount point or mounting a file system of the table.
    Mount,
    /// Making the first disk the root.
    Root,
    /// Reading the payload file, or understanding it.
    Payload,
    /// Changing to the payload's working directory.
    Workdir,
    /// Making the pipes for the payload's standard streams.
    Pipe,
    /// Starting the payload's process.
    Fork,
    /// Executing the payload's program.
    Exec,
    /// Waiting for children or for the payload's streams.
    Wait,
    /// A bug in PID 1 itself.
    Panic,
}

/// All stages, in the order of the type.
const STAGES: [Stage; 9] = [
    Stage::Mount,
    Stage::Root,
    Stage::Payload,
    Stage::Workdir,
    Stage::Pipe,
    Stage::Fork,
    Stage::Exec,
    Stage::Wait,
    Stage::Panic,
];

/// Their names in a verdict line, each up to its first NUL: PID 1 has no room for pointers to them.
static NAMES: [[u8; 7]; STAGES.len()] = [
    *b"mount\0\0",
    *b"root\0\0\0",
    *b"payload",
    *b"workdir",
    *b"pipe\0\0\0",
    *b"fork\0\0\0",
    *b"exec\0\0\0",
    *b"wait\0\0\0",
    *b"panic\0\0",
];

impl Stage {
    /// The stage's name in a verdict line.
    #[must_use]
    pub fn name(self) -> &'static str {
        core::str::from_utf8(self.bytes()).unwrap_or("panic")
    }

    fn bytes(self) -> &'static [u8] {
        let name = &NAMES[self as usize];
        let end = name.iter().position(|&byte| byte == 0);
        &name[..end.unwrap_or(name.len())]
    }

    fn from_name(name: &str) -> Option<Self> {
        STAGES.into_iter().find(|stage| stage.name() == name)
    }
}

/// How the payload, or PID 1 itself, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The payload exited with this status, 0 to 255.
    Exit(u8),
    /// The payload was ended by this signal, 1 to 64.
    Signal(u8),
    /// A program asked PID 1 to end the machine, by this signal ([`crate::power`]).
    Power(u8),
    /// PID 1 failed at a stage with this errno (0 where there is none).
    Error(Stage, u16),
}

impl Verdict {
    /// Writes the line, newline included, to the front of `line` and returns it.
    #[must_use]
    pub fn encode(self, line: &mut [u8; MAX_LINE]) -> &[u8] {
        let (word, stage, number): (&[u8], &[u8], _) = match self {
            Verdict::Exit(status) => (b"exit ", b"", u16::from(status)),
            Verdict::Signal(signal) => (b"signal ", b"", u16::from(signal)),
            Verdict::Power(signal) => (b"power ", b"", u16::from(signal)),
            Verdict::Error(stage, errno) => (b"error ", stage.bytes(), errno),
        };
        let mut end = 0;
        let mut push = |bytes: &[u8]| {
            for &byte in bytes {
                line[end] = byte;
                end += 1;
            }
        };
        push(word);
        if !stage.is_empty() {
            push(stage);
            push(b" ");
        }
        let mut scale = 10_000;
        while scale > 1 && number < scale {
            scale /= 10;
        }
        while scale > 0 {
            push(&[b'0' + (number / scale % 10) as u8]);
            scale /= 10;
        }
        push(b"\n");
        &line[..end]
    }

    /// Reads a line without its newline; `None` for anything that [`Verdict::encode`] does not write.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(line).ok()?;
        let mut words = text.split(' ');
        let verdict = match words.next()? {
            "exit" => Verdict::Exit(words.next()?.parse().ok()?),
            "signal" => Verdict::Signal(words.next()?.parse().ok()?),
            "power" => Verdict::Power(words.next()?.parse().ok()?),
            "error" => Verdict::Error(
                Stage::from_name(words.next()?)?,
                words.next()?.parse().ok()?,
            ),
            _ => return None,
        };
        words.next().is_none().then_some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(verdict: Verdict) {
        let mut line = [0; MAX_LINE];
        let text = verdict.encode(&mut line);
        let (newline, body) = text.split_last().unwrap();
        assert_eq!(*newline, b'\n');
        assert_eq!(Verdict::parse(body), Some(verdict));
    }

    #[test]
    fn every_verdict_is_read_back() {
        for number in 0..=255 {
            round_trip(Verdict::Exit(number));
            round_trip(Verdict::Signal(number));
            round_trip(Verdict::Power(number));
        }
        for stage in STAGES {
            for errno in [0, 9, 10, 99, 4095, u16::MAX] {
                round_trip(Verdict::Error(stage, errno));
            }
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            &b""[..],
            b"exit",
            b"exit 256",
            b"exit -1",
            b"exit 1 2",
            b"error exec",
            b"error dance 1",
            b"\xff\xfe",
        ] {
            assert_eq!(Verdict::parse(line), None, "{line:?}");
        }
    }
}
