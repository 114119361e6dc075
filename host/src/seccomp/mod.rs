//! What a thread that runs a guest may still ask of the kernel: KVM calls, and reading and writing what it has open.
//!
//! Each vCPU's thread confines itself; the threads of devices are not confined.
//!
//! A guest that got control of the runner could open no file, start no program, no thread and no connection, and map
//! nothing to be executed. All that is opened is opened before.
//!
//! The filter is a constant, so that nothing is compiled at start, and it looks at an argument before anything else:
//! a filter that begins with the call's number is tried by the kernel for each of 450 numbers when it is installed.
//! Together with `no_new_privs`, which it needs, it costs 0.05 of the 0.90 lab ms from fork to a flat guest's first byte.
//!
//! unsafe lives here because installing a filter has no safe interface.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use libc::{c_long, sock_filter, sock_fprog};
use std::io;
use std::mem::offset_of;

/// System calls that any argument is allowed to.
const ALLOWED: [c_long; 42] = [
    // Guest output, input, the doorbell, the report; what devices do with descriptors that are open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fallocate,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_wait,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    // The allocator, and guest memory's end.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Other threads of the process.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // Timers and their signals.
    libc::SYS_timer_settime,
    libc::SYS_timer_delete,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    // A hash table's seed, the report's resident memory.
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    // The end, and an abort with its signal to ourselves.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_robust_list,
];

/// Calls with a protection as their third argument, which may not ask for execution.
const PROTECTING: [c_long; 2] = [libc::SYS_mmap, libc::SYS_mprotect];

/// `AUDIT_ARCH_X86_64` of linux/audit.h: numbers mean other calls in the 32-bit ABI.
const ARCH: u32 = 0xc000_003e;

/// The one ioctl that is not KVM's: a terminal gets its settings back (`TCSETS2` of asm-generic/ioctls.h).
const RESTORE_TERMINAL: u32 = 0x402c_542b;

/// The byte of an ioctl's request that says whose it is, and KVM's (`KVMIO`).
const REQUEST_TYPE: u32 = 0xff00;
const KVM_REQUEST: u32 = 0xae00;

const LENGTH: usize = 12 + PROTECTING.len() + 2 + ALLOWED.len() + 2;

/// Offset of the lower half of argument `index` in `seccomp_data`.
const fn argument(index: usize) -> u32 {
    (offset_of!(libc::seccomp_data, args) + 8 * index) as u32
}

const fn code(code: u32, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

/// With how many instructions to skip if the condition holds, and if not.
const fn jump(code: u32, k: u32, jt: usize, jf: usize) -> sock_filter {
    assert!(jt < 256 && jf < 256);
    sock_filter {
        code: code as u16,
        jt: jt as u8,
        jf: jf as u8,
        k,
    }
}

const fn program() -> [sock_filter; LENGTH] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const ALLOW: usize = LENGTH - 1;
    const KILL: usize = LENGTH - 2;
    let mut program = [code(RETURN, libc::SECCOMP_RET_KILL_PROCESS); LENGTH];
    program[ALLOW] = code(RETURN, libc::SECCOMP_RET_ALLOW);
    // X: what an ioctl requests, or whatever the second argument is.
    program[0] = code(LOAD, argument(1));
    program[1] = code(libc::BPF_MISC | libc::BPF_TAX, 0);
    program[2] = code(LOAD, offset_of!(libc::seccomp_data, arch) as u32);
    program[3] = jump(EQUAL, ARCH, 0, KILL - 4);
    program[4] = code(LOAD, offset_of!(libc::seccomp_data, nr) as u32);
    program[5] = jump(EQUAL, libc::SYS_ioctl as u32, 0, 4);
    program[6] = code(libc::BPF_MISC | libc::BPF_TXA, 0);
    program[7] = jump(EQUAL, RESTORE_TERMINAL, ALLOW - 8, 0);
    program[8] = code(AND, REQUEST_TYPE);
    program[9] = jump(EQUAL, KVM_REQUEST, ALLOW - 10, KILL - 10);
    let mut at = 10;
    // Those that protect go on at the check behind them, the others over it.
    let check = at + PROTECTING.len() + 1;
    let mut index = 0;
    while index < PROTECTING.len() {
        program[at] = jump(EQUAL, PROTECTING[index] as u32, check - at - 1, 0);
        index += 1;
        at += 1;
    }
    program[at] = jump(libc::BPF_JMP | libc::BPF_JA, 2, 0, 0);
    program[check] = code(LOAD, argument(2));
    program[check + 1] = jump(
        ANY_BIT,
        libc::PROT_EXEC as u32,
        KILL - check - 2,
        ALLOW - check - 2,
    );
    at = check + 2;
    index = 0;
    while index < ALLOWED.len() {
        program[at] = jump(EQUAL, ALLOWED[index] as u32, ALLOW - at - 1, 0);
        index += 1;
        at += 1;
    }
    program
}

static PROGRAM: [sock_filter; LENGTH] = program();

/// Confines this thread, and those that it starts later, for good: another system call ends the process by SIGSYS.
///
/// # Errors
/// [`Error::System`] on a kernel without seccomp filters.
pub fn confine() -> Result<()> {
    let failed = |call| Error::System {
        call,
        error: io::Error::last_os_error(),
    };
    let program = sock_fprog {
        len: LENGTH as u16,
        filter: PROGRAM.as_ptr().cast_mut(),
    };
    // SAFETY: the calls change only what this process may do; the kernel copies the program, which is as long as told.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(failed("prctl(PR_SET_NO_NEW_PRIVS)"));
        }
        if libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        ) != 0
        {
            return Err(failed(
                "seccomp(SECCOMP_SET_MODE_FILTER); --no-seccomp does without:",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as linux/Documentation/userspace-api/seccomp_filter.rst has it.
    fn allows(nr: c_long, arch: u32, args: [u64; 3]) -> bool {
        let mut data = [0; 64];
        data[0..4].copy_from_slice(&(nr as u32).to_le_bytes());
        data[4..8].copy_from_slice(&arch.to_le_bytes());
        for (index, argument) in args.iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_le_bytes());
        }
        let (mut at, mut a, mut x) = (0, 0_u32, 0_u32);
        loop {
            let one = PROGRAM[at];
            at += 1;
            let jump = |holds| usize::from(if holds { one.jt } else { one.jf });
            match u32::from(one.code) {
                0x20 => a = u32::from_le_bytes(data[one.k as usize..][..4].try_into().unwrap()),
                0x07 => x = a,
                0x87 => a = x,
                0x54 => a &= one.k,
                0x05 => at += one.k as usize,
                0x15 => at += jump(a == one.k),
                0x45 => at += jump(a & one.k != 0),
                0x06 => return one.k == libc::SECCOMP_RET_ALLOW,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_allows_what_it_says_and_nothing_else() {
        const KVM_RUN: u64 = 0xae80;
        const TUNSETIFF: u64 = 0x4004_54ca;
        for nr in 0..600 {
            let listed = ALLOWED.contains(&nr) || PROTECTING.contains(&nr);
            assert_eq!(allows(nr, ARCH, [0; 3]), listed, "{nr}");
            assert!(!allows(nr, 0x4000_0003, [0, KVM_RUN, 0]), "{nr} of i386");
        }
        assert!(allows(libc::SYS_ioctl, ARCH, [3, KVM_RUN, 0]));
        assert!(allows(
            libc::SYS_ioctl,
            ARCH,
            [3, RESTORE_TERMINAL.into(), 0]
        ));
        for other in [TUNSETIFF, libc::TIOCSTI] {
            assert!(!allows(libc::SYS_ioctl, ARCH, [3, other, 0]), "{other:#x}");
        }
        let protect = |bits: libc::c_int| allows(libc::SYS_mprotect, ARCH, [0, 4096, bits as u64]);
        assert!(protect(libc::PROT_READ | libc::PROT_WRITE));
        assert!(!protect(libc::PROT_READ | libc::PROT_EXEC));
    }
}
