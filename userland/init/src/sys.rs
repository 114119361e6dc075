//! The system calls that rustix leaves to a libc or does not have. Numbers and constants are linux-raw-sys's.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ffi::CStr;
use core::ptr;
use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// A kernel signal set: bit `n - 1` for signal `n`.
pub(crate) type SignalSet = u64;

/// Makes a system call with four arguments; the kernel ignores those that a call does not take.
///
/// # Safety
/// The kernel's contract for call `number`.
unsafe fn call(number: u32, args: [usize; 4]) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller's, and `syscall` changes no registers but rax, rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3],
            lateout("rcx") _, lateout("r11") _, options(nostack, preserves_flags));
    }
    if result < 0 {
        return Err(Errno::from_raw_os_error(-result as i32));
    }
    Ok(result as usize)
}

/// Sets the I/O privilege level: 3 for every port, 0 for none.
pub(crate) fn iopl(level: usize) -> Result<()> {
    // SAFETY: touches no memory.
    unsafe { call(linux::__NR_iopl, [level, 0, 0, 0]) }.map(drop)
}

/// Sleeps for a millisecond, or until a signal comes.
pub(crate) fn sleep_1ms() {
    // SAFETY: without descriptors the kernel looks at no memory of ours.
    let _ = unsafe { call(linux::__NR_poll, [0, 0, 1, 0]) };
}

/// Waits for what holds the kernel's lock of processors that come and go, if there are several.
pub(crate) fn await_hotplug() {
    let command = linux::membarrier_cmd::MEMBARRIER_CMD_GLOBAL_EXPEDITED as usize;
    // SAFETY: touches no memory.
    let _ = unsafe { call(linux::__NR_membarrier, [command, 0, 0, 0]) };
}

/// Copies this process; `None` in the child.
///
/// # Safety
/// The child is a copy with this process's stack and descriptors: it must execute a program or exit.
pub(crate) unsafe fn fork() -> Result<Option<Pid>> {
    // SAFETY: no shared memory and no new stack, so the copy goes on here as this process does.
    let pid = unsafe { call(linux::__NR_clone, [linux::SIGCHLD as usize, 0, 0, 0]) }?;
    Ok(Pid::from_raw(pid as i32))
}

/// Replaces this process by the program at `path`; returns only why it could not.
///
/// # Safety
/// `args` and `env` are null-terminated arrays of NUL-terminated strings.
pub(crate) unsafe fn execve(path: &CStr, args: *const *const u8, env: *const *const u8) -> Errno {
    let args = [path.as_ptr() as usize, args as usize, env as usize, 0];
    // SAFETY: the caller's.
    match unsafe { call(linux::__NR_execve, args) } {
        Err(errno) => errno,
        Ok(_) => Errno::NOEXEC,
    }
}

/// Ends this process: the way out of a child that could not execute its program.
pub(crate) fn exit(status: usize) -> ! {
    loop {
        // SAFETY: touches no memory.
        let _ = unsafe { call(linux::__NR_exit_group, [status, 0, 0, 0]) };
    }
}

/// Makes `blocked` the set of blocked signals.
pub(crate) fn block_signals(blocked: SignalSet) {
    let set = ptr::from_ref(&blocked) as usize;
    let args = [linux::SIG_SETMASK as usize, set, 0, size_of::<SignalSet>()];
    // SAFETY: the kernel reads one set and is given no place to store the old one.
    let _ = unsafe { call(linux::__NR_rt_sigprocmask, args) };
}

/// Takes one pending signal of `set`, waiting at most `milliseconds`, or for ever.
///
/// # Errors
/// `AGAIN` when the time is over.
pub(crate) fn wait_for_signal(set: SignalSet, milliseconds: Option<u32>) -> Result<u32> {
    let limit = milliseconds.map(|milliseconds| linux::__kernel_timespec {
        tv_sec: 0,
        tv_nsec: i64::from(milliseconds) * 1_000_000,
    });
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    let set = ptr::from_ref(&set) as usize;
    let args = [set, 0, limit as usize, size_of::<SignalSet>()];
    // SAFETY: the kernel reads a set and a time limit or none, and is given no place for details.
    unsafe { call(linux::__NR_rt_sigtimedwait, args) }.map(|signal| signal as u32)
}

/// Makes `owner` the process that gets SIGIO when `fd` becomes ready.
pub(crate) fn set_owner(fd: impl AsFd, owner: Pid) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd() as usize;
    let owner = owner.as_raw_nonzero().get() as usize;
    // SAFETY: touches no memory.
    unsafe { call(linux::__NR_fcntl, [fd, linux::F_SETOWN as usize, owner, 0]) }.map(drop)
}
