//! The system calls that rustix leaves to a libc or does not have. Numbers and constants are linux-raw-sys's.
//!
//! unsafe lives here because system calls are made here.
#![allow(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a register holds what the call says, whatever its type here"
)]

use core::arch::asm;
use core::ffi::CStr;
use core::ptr;
use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// A kernel signal set: bit `n - 1` for signal `n`.
pub(crate) type SignalSet = u64;

/// Makes a system call with up to four arguments, `number` last: the kernel ignores those that a call does not take. One copy
/// serves every call: the arguments are in the kernel's registers already, but for the fourth.
///
/// # Safety
/// The kernel's contract for call `number`.
#[inline(never)]
unsafe fn call(a: usize, b: usize, c: usize, d: usize, number: u32) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller's, and `syscall` changes no registers but rax, rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
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
    unsafe { call(level, 0, 0, 0, linux::__NR_iopl) }.map(drop)
}

/// Sleeps for a millisecond, or until a signal comes.
pub(crate) fn sleep_1ms() {
    // SAFETY: without descriptors the kernel looks at no memory of ours.
    let _ = unsafe { call(0, 0, 1, 0, linux::__NR_poll) };
}

/// Waits for what holds the kernel's lock of processors that come and go, if there are several.
pub(crate) fn await_hotplug() {
    let command = linux::membarrier_cmd::MEMBARRIER_CMD_GLOBAL_EXPEDITED as usize;
    // SAFETY: touches no memory.
    let _ = unsafe { call(command, 0, 0, 0, linux::__NR_membarrier) };
}

/// Copies this process; `None` in the child.
///
/// # Safety
/// The child is a copy with this process's stack and descriptors: it must execute a program or exit.
pub(crate) unsafe fn fork() -> Result<Option<Pid>> {
    // SAFETY: no shared memory and no new stack, so the copy goes on here as this process does.
    let pid = unsafe { call(linux::SIGCHLD as usize, 0, 0, 0, linux::__NR_clone) }?;
    Ok(Pid::from_raw(pid as i32))
}

/// Replaces this process by the program at `path`; returns only why it could not.
///
/// # Safety
/// `args` and `env` are null-terminated arrays of NUL-terminated strings.
pub(crate) unsafe fn execve(path: &CStr, args: *const *const u8, env: *const *const u8) -> Errno {
    let path = path.as_ptr() as usize;
    // SAFETY: the caller's.
    match unsafe { call(path, args as usize, env as usize, 0, linux::__NR_execve) } {
        Err(errno) => errno,
        Ok(_) => Errno::NOEXEC,
    }
}

/// Ends this process: the way out of a child that could not execute its program.
pub(crate) fn exit(status: usize) -> ! {
    loop {
        // SAFETY: touches no memory.
        let _ = unsafe { call(status, 0, 0, 0, linux::__NR_exit_group) };
    }
}

/// Makes `blocked` the set of blocked signals.
pub(crate) fn block_signals(blocked: SignalSet) {
    let set = ptr::from_ref(&blocked) as usize;
    let (how, bytes) = (linux::SIG_SETMASK as usize, size_of::<SignalSet>());
    // SAFETY: the kernel reads one set and is given no place to store the old one.
    let _ = unsafe { call(how, set, 0, bytes, linux::__NR_rt_sigprocmask) };
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
    let (limit, bytes) = (limit as usize, size_of::<SignalSet>());
    // SAFETY: the kernel reads a set and a time limit or none, and is given no place for details.
    unsafe { call(set, 0, limit, bytes, linux::__NR_rt_sigtimedwait) }.map(|signal| signal as u32)
}

/// Names the host.
pub(crate) fn set_host_name(name: &[u8]) -> Result<()> {
    let start = name.as_ptr() as usize;
    // SAFETY: the kernel reads the name.
    unsafe { call(start, name.len(), 0, 0, linux::__NR_sethostname) }.map(drop)
}

/// Changes to a directory.
pub(crate) fn change_directory(path: &CStr) -> Result<()> {
    // SAFETY: the kernel reads the path.
    unsafe { call(path.as_ptr() as usize, 0, 0, 0, linux::__NR_chdir) }.map(drop)
}

/// Gives this process this user and this one group.
pub(crate) fn become_user(uid: u32, gid: u32) -> Result<()> {
    let groups = ptr::from_ref(&gid) as usize;
    let (uid, gid) = (uid as usize, gid as usize);
    // SAFETY: the kernel reads one group, and changes numbers of the process.
    unsafe {
        call(1, groups, 0, 0, linux::__NR_setgroups)?;
        call(gid, 0, 0, 0, linux::__NR_setgid)?;
        call(uid, 0, 0, 0, linux::__NR_setuid).map(drop)
    }
}

/// Turns the loopback interface on.
pub(crate) fn loopback_up() -> Result<()> {
    // linux/net.h. A Unix socket is the cheapest to make, and any will do.
    const AF_UNIX: usize = 1;
    const SOCK_DGRAM: usize = 2;
    /// `SIOCSIFFLAGS` of linux/sockios.h.
    const SET_FLAGS: usize = 0x8914;
    /// `struct ifreq` of linux/if.h: a name of 16 bytes, and the flags, of which `IFF_UP` is the first.
    const REQUEST: [u64; 5] = [u16::from_le_bytes(*b"lo") as u64, 0, 1, 0, 0];
    let request = ptr::from_ref(&REQUEST) as usize;
    // SAFETY: the kernel reads the request; the socket is nobody else's.
    unsafe {
        let socket = call(AF_UNIX, SOCK_DGRAM, 0, 0, linux::__NR_socket)?;
        let up = call(socket, SET_FLAGS, request, 0, linux::__NR_ioctl);
        call(socket, 0, 0, 0, linux::__NR_close)?;
        up.map(drop)
    }
}

/// Sends a process a signal.
pub(crate) fn kill(process: Pid, signal: u32) -> Result<()> {
    let process = process.as_raw_nonzero().get() as usize;
    // SAFETY: touches no memory.
    unsafe { call(process, signal as usize, 0, 0, linux::__NR_kill) }.map(drop)
}

/// Makes `owner` the process that gets SIGIO when `fd` becomes ready.
pub(crate) fn set_owner(fd: impl AsFd, owner: Pid) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd() as usize;
    let owner = owner.as_raw_nonzero().get() as usize;
    // SAFETY: touches no memory.
    unsafe { call(fd, linux::F_SETOWN as usize, owner, 0, linux::__NR_fcntl) }.map(drop)
}
