//! What each kind of thread may ask for.

use super::filter::Rules;
use libc::c_long;

/// A vCPU's thread, and its process before and after.
pub(super) const VCPU: Rules = Rules {
    calls: &CALLS,
    more: &CALLS_OF_VCPUS,
    requests: &[RESTORE_TERMINAL],
    kvm: true,
    unix_sockets: false,
};

/// A device's thread.
pub(super) const DEVICE: Rules = Rules {
    calls: &CALLS,
    more: &[],
    requests: &REQUESTS_OF_DEVICES,
    kvm: false,
    unix_sockets: false,
};

/// That of the device whose connections are made while the guest runs.
pub(super) const SOCKETS: Rules = Rules {
    more: &CALLS_OF_SOCKETS,
    unix_sockets: true,
    ..DEVICE
};

/// A terminal gets its settings back (`TCSETS2` of asm-generic/ioctls.h).
const RESTORE_TERMINAL: c_long = 0x402c_542b;

/// Interrupts (`KVM_SIGNAL_MSI` and `KVM_IRQ_LINE` of linux/kvm.h), what packets a tap may give (`TUNSETOFFLOAD` of
/// linux/if_tun.h), a terminal's size (`TIOCGWINSZ`).
const REQUESTS_OF_DEVICES: [c_long; 4] = [
    0x4020_aea5,
    0x4008_ae61,
    libc::TUNSETOFFLOAD.cast_signed(),
    libc::TIOCGWINSZ.cast_signed(),
];

/// What every thread does: a device's has no more.
const CALLS: [c_long; 32] = [
    // Guest output and input, the ready doorbell, a device's eventfd and its files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_fdatasync,
    libc::SYS_fallocate,
    libc::SYS_getrandom,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_close,
    // The allocator, and guest memory's end.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Other threads of the process, the time, signals.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    // The end, an abort with its signal to ourselves, a console's keys that end the run.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_robust_list,
    // Whether standard error is open, for a panic message.
    libc::SYS_fstat,
    libc::SYS_statx,
];

const CALLS_OF_SOCKETS: [c_long; 4] = [
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_unlinkat,
];

const CALLS_OF_VCPUS: [c_long; 10] = [
    // What else is done with descriptors that are open: the payload's streams, the report, what it is made of.
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fsync,
    libc::SYS_epoll_wait,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    // Timers, and the report's resident memory.
    libc::SYS_timer_settime,
    libc::SYS_timer_delete,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrusage,
];
