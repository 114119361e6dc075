//! A list of system calls as a program for the kernel's filter, made by the compiler.

use crate::base::cast::{low32, to_u32};
use kvm_bindings::KVMIO;
use libc::{c_long, sock_filter};
use std::mem::offset_of;

/// What is allowed.
pub(super) struct Rules {
    /// Calls with any arguments.
    pub(super) calls: &'static [c_long],
    /// More of them.
    pub(super) more: &'static [c_long],
    /// Requests of ioctl.
    pub(super) requests: &'static [c_long],
    /// Every request of ioctl that is KVM's.
    pub(super) kvm: bool,
    /// Sockets of the Unix family, and of no other.
    pub(super) unix_sockets: bool,
}

/// Calls with a protection as their third argument, which may not ask for execution.
pub(super) const PROTECTING: [c_long; 2] = [libc::SYS_mmap, libc::SYS_mprotect];

/// `AUDIT_ARCH_X86_64` of linux/audit.h: numbers mean other calls in the 32-bit ABI.
pub(super) const ARCH: u32 = 0xc000_003e;

/// The byte of an ioctl's request that holds its type, and KVM's type in it.
const REQUEST_TYPE: u32 = 0xff00;
const KVM_REQUEST: u32 = KVMIO << 8;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// How long the program for these rules is.
pub(super) const fn length(rules: &Rules) -> usize {
    let sockets = if rules.unix_sockets { 3 } else { 0 };
    let calls = rules.calls.len() + rules.more.len();
    // The loads and the architecture, ioctl and its end, what protects, both results.
    9 + rules.requests.len() + sockets + PROTECTING.len() + 3 + calls + 2
}

/// The program for these rules, `N` being its [`length`].
pub(super) const fn program<const N: usize>(rules: &Rules) -> [sock_filter; N] {
    let allow = N - 1;
    let kill = N - 2;
    let mut program = [code(RETURN, libc::SECCOMP_RET_KILL_PROCESS); N];
    program[allow] = code(RETURN, libc::SECCOMP_RET_ALLOW);
    // X: what an ioctl requests, or whatever the second argument is.
    program[0] = code(LOAD, argument(1));
    program[1] = code(libc::BPF_MISC | libc::BPF_TAX, 0);
    program[2] = code(LOAD, to_u32(offset_of!(libc::seccomp_data, arch)));
    program[3] = jump(EQUAL, ARCH, 0, kill - 4);
    program[4] = code(LOAD, to_u32(offset_of!(libc::seccomp_data, nr)));
    let mut at = 5;
    program[at] = jump(EQUAL, number(libc::SYS_ioctl), 0, rules.requests.len() + 3);
    program[at + 1] = code(libc::BPF_MISC | libc::BPF_TXA, 0);
    at = allow_each(&mut program, at + 2, rules.requests);
    // Without KVM's, this compares with a type that cannot be left over.
    program[at] = code(AND, REQUEST_TYPE);
    let own = if rules.kvm { KVM_REQUEST } else { u32::MAX };
    program[at + 1] = jump(EQUAL, own, allow - at - 2, kill - at - 2);
    at += 2;
    if rules.unix_sockets {
        program[at] = jump(EQUAL, number(libc::SYS_socket), 0, 2);
        program[at + 1] = code(LOAD, argument(0));
        program[at + 2] = jump(EQUAL, libc::AF_UNIX as u32, allow - at - 3, kill - at - 3);
        at += 3;
    }
    // Those that protect go on at the check behind them, the others over it.
    let check = at + PROTECTING.len() + 1;
    let mut index = 0;
    while index < PROTECTING.len() {
        program[at] = jump(EQUAL, number(PROTECTING[index]), check - at - 1, 0);
        index += 1;
        at += 1;
    }
    program[at] = jump(libc::BPF_JMP | libc::BPF_JA, 2, 0, 0);
    program[check] = code(LOAD, argument(2));
    program[check + 1] = jump(
        ANY_BIT,
        libc::PROT_EXEC as u32,
        kill - check - 2,
        allow - check - 2,
    );
    at = allow_each(&mut program, check + 2, rules.calls);
    at = allow_each(&mut program, at, rules.more);
    assert!(at == kill);
    program
}

const fn allow_each<const N: usize>(
    program: &mut [sock_filter; N],
    mut at: usize,
    values: &[c_long],
) -> usize {
    let mut index = 0;
    while index < values.len() {
        program[at] = jump(EQUAL, number(values[index]), N - 1 - at - 1, 0);
        index += 1;
        at += 1;
    }
    at
}

/// A system call's number, or an ioctl's request, as a filter compares it.
const fn number(value: c_long) -> u32 {
    assert!(value >= 0);
    low32(value.unsigned_abs())
}

/// Offset of the lower half of argument `index` in `seccomp_data`.
const fn argument(index: usize) -> u32 {
    to_u32(offset_of!(libc::seccomp_data, args) + 8 * index)
}

const fn code(code: u32, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

/// With how many instructions to skip if the condition holds, and if not.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the distances are checked, and codes have 16 bits"
)]
const fn jump(code: u32, k: u32, jt: usize, jf: usize) -> sock_filter {
    assert!(jt < 256 && jf < 256);
    sock_filter {
        code: code as u16,
        jt: jt as u8,
        jf: jf as u8,
        k,
    }
}
