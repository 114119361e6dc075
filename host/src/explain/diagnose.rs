//! How a run ended: its outcome and exit status, and what is known of a bad end.

use super::dmesg;
use super::power::{ended_by, out_of_memory};
use super::symbols::Symbols;
use crate::load::kernel::Kernel;
use crate::memory::{GuestMemory, paging};
use crate::report::{EndedBy, Ending, FAULT, INTERRUPTED, Outcome, Stop, TIMED_OUT};
use jiffy_abi::power;
use jiffy_abi::verdict::{Stage, Verdict};
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use std::io;
use std::path::Path;
use std::time::Duration;

/// `panic_cpu` before a panic (`PANIC_CPU_INVALID` in include/linux/panic.h).
const NO_PANIC: i32 = -1;

/// Statuses as shells have them: of a program that SIGKILL ended, and of a command that was not found.
const KILLED: u8 = 128 + 9;
const NOT_FOUND: u8 = 127;

/// CR0.PE: no guest of ours runs without it.
const PROTECTED: u64 = 1;

/// How many lines of the kernel log are shown.
const LOG_LINES: usize = 20;

/// What is known of a run that has ended.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    /// Why it ended.
    pub(crate) ending: &'a Ending,
    /// Whether PID 1 rang ready.
    pub(crate) ready: bool,
    /// Whether PID 1 started the payload.
    pub(crate) started: bool,
    /// PID 1's one verdict.
    pub(crate) verdict: Option<Verdict>,
    /// The longest that the guest was allowed to run.
    pub(crate) timeout: Duration,
    /// Whether the guest's root is the user's own.
    pub(crate) root: bool,
    /// The program that PID 1 was to run.
    pub(crate) program: Option<&'a Path>,
    /// The first vCPU as it stopped.
    pub(crate) vcpu: &'a VcpuFd,
    /// The guest's memory.
    pub(crate) memory: &'a GuestMemory,
    /// What ran.
    pub(crate) kernel: &'a Kernel,
}

/// A judged run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// The outcome.
    pub(crate) outcome: Outcome,
    /// The runner's exit status.
    pub(crate) exit_code: u8,
    /// How the guest ended the machine, if it asked for that.
    pub(crate) ended_by: Option<EndedBy>,
    /// Whether the program was killed for want of memory.
    pub(crate) out_of_memory: bool,
    /// What is known of a bad end, a line each; empty after a good one.
    pub(crate) lines: Vec<String>,
}

impl Diagnosis {
    fn good(outcome: Outcome, exit_code: u8) -> Self {
        Diagnosis {
            outcome,
            exit_code,
            ended_by: None,
            out_of_memory: false,
            lines: Vec::new(),
        }
    }

    fn with_lines(self, lines: Vec<String>) -> Self {
        Diagnosis { lines, ..self }
    }
}

impl Evidence<'_> {
    /// Judges the run by its end and by what PID 1 said.
    pub(crate) fn judge(&self) -> Diagnosis {
        match self.ending {
            Ending::Stopped(Stop::TimedOut) => {
                let when = if self.ready {
                    ""
                } else {
                    ", before it was ready"
                };
                let seconds = self.timeout.as_secs_f64();
                let what = format!(
                    "the guest was stopped after {seconds} s{when}; give it longer with --timeout"
                );
                bad(Outcome::TimedOut, what, &self.known())
            }
            Ending::Stopped(Stop::Interrupted) => {
                Diagnosis::good(Outcome::Interrupted, INTERRUPTED)
                    .with_lines(vec!["interrupted".to_owned()])
            }
            Ending::KvmError(what) => bad(Outcome::Crashed, what.clone(), &self.known()),
            Ending::Ended
            | Ending::Reset
            | Ending::PowerOff
            | Ending::TripleFault
            | Ending::Halted => match self.verdict {
                Some(Verdict::Exit(status)) => self.exited(status),
                // As a shell shows a program that a signal ended.
                Some(Verdict::Signal(signal)) => self.exited(128 | signal),
                Some(Verdict::Power(signal)) => Diagnosis {
                    ended_by: power::of_signal(signal).map(EndedBy::from),
                    ..Diagnosis::good(Outcome::Exited, 0)
                },
                Some(Verdict::Error(stage, errno)) => Diagnosis::good(Outcome::Crashed, FAULT)
                    .with_lines(vec![init_error(stage, errno, self.program)]),
                None => self.without_verdict(),
            },
        }
    }

    /// The program has ended. Where its status has a reason that is not its own, that is said.
    fn exited(&self, status: u8) -> Diagnosis {
        let good = Diagnosis::good(Outcome::Exited, status);
        match status {
            KILLED if out_of_memory(self.memory, &self.kernel.image()) => Diagnosis {
                out_of_memory: true,
                ..good
            }
            .with_lines(vec![format!(
                "the guest ran out of memory and killed the program; give it more than {} MiB with --memory",
                self.memory.len() >> 20
            )]),
            NOT_FOUND if !self.root => good.with_lines(vec![
                "status 127: mostly, a command or file was not found. The guest has the program and its libraries, and nothing \
                 else of this machine; bring more with --add FILE, or a whole root with --rootfs (--initrd of jiffy run)"
                    .to_owned(),
            ]),
            _ => good,
        }
    }

    /// A guest that ended without a verdict is ready, if that is all that was asked of it, or was switched off or rebooted
    /// by somebody in it; else it panicked or crashed.
    fn without_verdict(&self) -> Diagnosis {
        if *self.ending == Ending::Ended && self.ready && !self.started {
            return Diagnosis::good(Outcome::Ready, 0);
        }
        let known = self.known();
        let panicked = self.panicked(&known);
        if panicked == Some(true) {
            return bad(Outcome::Panicked, "the kernel panicked".to_owned(), &known);
        }
        let asked = match self.ending {
            Ending::PowerOff => Some(EndedBy::PowerOff),
            // A kernel that tells nothing of itself may as well have panicked.
            Ending::Reset if panicked.is_some() => Some(EndedBy::Restart),
            _ => None,
        };
        if let Some(ended_by) = ended_by(self.memory, &known.symbols).or(asked) {
            return Diagnosis {
                ended_by: Some(ended_by),
                ..Diagnosis::good(Outcome::Exited, 0)
            };
        }
        let what = match self.ending {
            Ending::Halted => "the guest halted with interrupts off",
            Ending::Reset => "the guest reset the machine",
            Ending::TripleFault => "the guest ended in a triple fault",
            _ if !self.ready => "the guest ended the machine before it was ready",
            _ => "PID 1 ended the machine without exactly one verdict",
        };
        bad(Outcome::Crashed, what.to_owned(), &known)
    }

    /// Whether the kernel panicked: it says so, or its log does; `None` where neither can be read.
    fn panicked(&self, known: &Known) -> Option<bool> {
        if let Some(cpu) = known.symbols.read(self.memory, "panic_cpu") {
            return Some(i32::from_le_bytes(cpu) != NO_PANIC);
        }
        let panics = |line: &String| line.contains("Kernel panic - not syncing");
        (!known.log.is_empty()).then(|| known.log.iter().any(panics))
    }

    /// What its memory and its vCPU hold.
    fn known(&self) -> Known {
        let symbols = Symbols::parse(&self.kernel.image());
        let (Ok(regs), Ok(sregs)) = (self.vcpu.get_regs(), self.vcpu.get_sregs()) else {
            return Known::default();
        };
        Known {
            registers: if sregs.cr0 & PROTECTED == 0 {
                let lost = "its registers are lost: KVM resets a vCPU that ends in a triple fault";
                vec![lost.to_owned()]
            } else {
                registers(self.memory, &symbols, &regs, &sregs)
            },
            log: dmesg::read(self.memory, sregs.cr3, &symbols),
            symbols,
        }
    }
}

/// What a guest left behind: its registers and the bytes of the instruction, the kernel's log, its symbols.
#[derive(Debug, Default)]
struct Known {
    registers: Vec<String>,
    log: Vec<String>,
    symbols: Symbols,
}

/// A bad end, with the registers and the end of the log.
fn bad(outcome: Outcome, what: String, known: &Known) -> Diagnosis {
    let mut lines = vec![what];
    lines.extend_from_slice(&known.registers);
    lines.extend_from_slice(&known.log[known.log.len().saturating_sub(LOG_LINES)..]);
    let exit_code = if outcome == Outcome::TimedOut {
        TIMED_OUT
    } else {
        FAULT
    };
    Diagnosis::good(outcome, exit_code).with_lines(lines)
}

/// `ENOEXEC` of asm-generic/errno-base.h.
const NO_FORMAT: i32 = 8;

fn init_error(stage: Stage, errno: u16, program: Option<&Path>) -> String {
    let reason = io::Error::from_raw_os_error(i32::from(errno));
    let what = stage.name();
    let Some(program) = program.filter(|_| stage == Stage::Exec) else {
        return format!("PID 1 failed at {what}: {reason}");
    };
    let advice = match reason.kind() {
        io::ErrorKind::NotFound => {
            "; use its path in the guest's root, which must have its interpreter or loader too"
        }
        _ if reason.raw_os_error() == Some(NO_FORMAT) => {
            "; the guest's kernel runs 64-bit programs only: it has no CONFIG_IA32_EMULATION"
        }
        _ => "",
    };
    format!(
        "PID 1 failed at {what} of {}: {reason}{advice}",
        program.display()
    )
}

fn registers(
    memory: &GuestMemory,
    symbols: &Symbols,
    regs: &kvm_regs,
    sregs: &kvm_sregs,
) -> Vec<String> {
    let place = symbols
        .describe(regs.rip)
        .map(|symbol| format!(" ({symbol})"))
        .unwrap_or_default();
    let mut code = [0; 16];
    let code = match paging::read(memory, sregs.cr3, regs.rip, &mut code) {
        Ok(()) => code.iter().map(|byte| format!(" {byte:02x}")).collect(),
        Err(_) => " (not mapped)".to_owned(),
    };
    vec![
        format!(
            "rip {:#x}{place}, cpl {}, rflags {:#x}",
            regs.rip,
            sregs.cs.selector & 3,
            regs.rflags
        ),
        format!(
            "rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x} rsp {:#x} rbp {:#x}",
            regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rsp, regs.rbp
        ),
        format!(
            "cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
            sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer
        ),
        format!("code at rip:{code}"),
    ]
}
