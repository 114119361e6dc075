//! How a run is to be judged, and what is known of one that ended badly.

use crate::boot::Config;
use crate::dmesg;
use crate::kernel::Kernel;
use crate::paging;
use crate::ports::Ports;
use crate::report::Outcome;
use crate::run::{Ending, Run};
use crate::symbols::Symbols;
use crate::vm::Vm;
use crate::watchdog::Stop;
use jiffy_abi::verdict;
use kvm_bindings::{kvm_regs, kvm_sregs};
use std::io;
use std::path::Path;

/// Exit statuses that the command line documents.
const TIMED_OUT: u8 = 124;
pub(crate) const FAULT: u8 = 125;
/// As a shell shows a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// `panic_cpu` before a panic (`PANIC_CPU_INVALID` in include/linux/panic.h).
const NO_PANIC: i32 = -1;

/// CR0.PE: no guest of ours runs without it.
const PROTECTED: u64 = 1;

/// How many lines of the kernel log are shown.
const LOG_LINES: usize = 20;

/// A judged run.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// The runner's exit status.
    pub exit_code: u8,
    /// What is known, a line each; empty when all is well.
    pub lines: Vec<String>,
}

/// Judges a run by its end and by what PID 1 said.
#[must_use]
pub fn verdict(run: &Run, ports: &Ports, vm: &Vm, config: &Config, kernel: &Kernel) -> Verdict {
    let said = ports.verdict();
    let bad = |outcome, exit_code, what: String| {
        let mut lines = vec![what];
        lines.extend(state(vm, kernel));
        Verdict {
            outcome,
            exit_code,
            lines,
        }
    };
    match &run.ending {
        Ending::Stopped(Stop::TimedOut) => bad(
            Outcome::TimedOut,
            TIMED_OUT,
            format!(
                "the guest was stopped after {} s{}; give it longer with --timeout",
                config.timeout.as_secs_f64(),
                if run.ready.is_none() {
                    ", before it was ready"
                } else {
                    ""
                }
            ),
        ),
        Ending::Stopped(Stop::Interrupted) => Verdict {
            outcome: Outcome::Interrupted,
            exit_code: INTERRUPTED,
            lines: vec!["interrupted".to_owned()],
        },
        Ending::KvmError(what) => bad(Outcome::Crashed, FAULT, what.clone()),
        Ending::Ended | Ending::Reset | Ending::TripleFault => match said {
            Some(verdict::Verdict::Exit(status)) => exited(status),
            // As a shell shows a program that a signal ended.
            Some(verdict::Verdict::Signal(signal)) => exited(128 | signal),
            Some(verdict::Verdict::Error(stage, errno)) => Verdict {
                outcome: Outcome::Crashed,
                exit_code: FAULT,
                lines: vec![init_error(stage, errno, config.program.as_deref())],
            },
            None => silent_end(run, vm, kernel, bad),
        },
    }
}

fn exited(status: u8) -> Verdict {
    Verdict {
        outcome: Outcome::Exited,
        exit_code: status,
        lines: Vec::new(),
    }
}

fn init_error(stage: verdict::Stage, errno: u16, program: Option<&Path>) -> String {
    let reason = io::Error::from_raw_os_error(i32::from(errno));
    let what = stage.name();
    let Some(program) = program.filter(|_| stage == verdict::Stage::Exec) else {
        return format!("PID 1 failed at {what}: {reason}");
    };
    let advice = match reason.kind() {
        io::ErrorKind::NotFound => {
            "; give the path that it has in the guest's root, where its interpreter or loader has to be too"
        }
        _ => "",
    };
    format!(
        "PID 1 failed at {what} of {}: {reason}{advice}",
        program.display()
    )
}

/// A guest that ended without a word is ready, if that is all that was asked of it; else it panicked or crashed.
fn silent_end(
    run: &Run,
    vm: &Vm,
    kernel: &Kernel,
    bad: impl Fn(Outcome, u8, String) -> Verdict,
) -> Verdict {
    if run.ready.is_some() && run.started.is_none() && run.ending == Ending::Ended {
        return Verdict {
            outcome: Outcome::Ready,
            exit_code: 0,
            lines: Vec::new(),
        };
    }
    let symbols = Symbols::parse(&kernel.image());
    let panic_cpu = symbols
        .read(&vm.memory, "panic_cpu")
        .map(i32::from_le_bytes);
    if panic_cpu.is_some_and(|cpu| cpu != NO_PANIC) {
        return bad(Outcome::Panicked, FAULT, "the kernel panicked".to_owned());
    }
    let what = match run.ending {
        Ending::Reset => "the guest reset the machine",
        Ending::TripleFault => "the guest ended in a triple fault",
        _ if run.ready.is_none() => "the guest ended the machine before it was ready",
        _ => "PID 1 ended the machine without exactly one verdict",
    };
    bad(Outcome::Crashed, FAULT, what.to_owned())
}

/// Registers, the instruction's bytes, and the end of the kernel's log.
fn state(vm: &Vm, kernel: &Kernel) -> Vec<String> {
    let (Ok(regs), Ok(sregs)) = (vm.vcpu.get_regs(), vm.vcpu.get_sregs()) else {
        return Vec::new();
    };
    let symbols = Symbols::parse(&kernel.image());
    let mut lines = if sregs.cr0 & PROTECTED == 0 {
        vec!["its registers are lost: KVM resets a vCPU that ends in a triple fault".to_owned()]
    } else {
        registers(vm, &symbols, &regs, &sregs)
    };
    let log = dmesg::read(&vm.memory, sregs.cr3, &symbols);
    lines.extend_from_slice(&log[log.len().saturating_sub(LOG_LINES)..]);
    lines
}

fn registers(vm: &Vm, symbols: &Symbols, regs: &kvm_regs, sregs: &kvm_sregs) -> Vec<String> {
    let place = symbols
        .describe(regs.rip)
        .map(|symbol| format!(" ({symbol})"))
        .unwrap_or_default();
    let mut code = [0; 16];
    let code = match paging::read(&vm.memory, sregs.cr3, regs.rip, &mut code) {
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
