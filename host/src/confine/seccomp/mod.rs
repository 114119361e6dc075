//! What the threads of a running guest may still ask of the kernel: KVM calls, and reading and writing what they have
//! open; each thread confines itself.
//!
//! A guest that got control of the runner could open no file, start no program, no thread and no connection, and map
//! nothing to be executed. Everything is opened before, except the connections of vsock.
//!
//! The filters are constants, so that nothing is compiled at start. They look at an argument before anything else, since
//! the kernel tries a filter that begins with the call's number for each of 450 numbers when it is installed.
//!
//! unsafe lives here because installing a filter has no safe interface.
#![allow(unsafe_code)]

mod filter;
mod rules;

use crate::error::{Error, Result};
use filter::{length, program};
use libc::{sock_filter, sock_fprog};
use std::io;

static VCPU: [sock_filter; length(&rules::VCPU)] = program(&rules::VCPU);
static DEVICE: [sock_filter; length(&rules::DEVICE)] = program(&rules::DEVICE);
static SOCKETS: [sock_filter; length(&rules::SOCKETS)] = program(&rules::SOCKETS);

/// A kind of thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// It runs a vCPU.
    Vcpu,
    /// It serves a device.
    Device,
    /// It serves a device that makes connections.
    Sockets,
}

impl Filter {
    fn program(self) -> &'static [sock_filter] {
        match self {
            Filter::Vcpu => &VCPU,
            Filter::Device => &DEVICE,
            Filter::Sockets => &SOCKETS,
        }
    }
}

/// Keeps glibc's allocator from opening files. Call it before starting threads that confine themselves: the allocator
/// would read the number of processors when it has made as many heaps as this, and the overcommit policy when it shrinks
/// one.
pub(crate) fn prepare_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls set parameters of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 8);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    };
}

/// Confines this thread, and those that it starts later, for good: another system call ends the process by SIGSYS.
///
/// # Errors
/// [`Error::System`] on a kernel without seccomp filters.
pub(crate) fn confine(filter: Filter) -> Result<()> {
    let failed = |call| Error::System {
        call,
        error: io::Error::last_os_error(),
    };
    let program = filter.program();
    let program = sock_fprog {
        // The kernel takes 4096 instructions at most.
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the calls change only what this process may do; the kernel copies the program, whose length is right.
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
    use super::filter::{ARCH, PROTECTING, Rules};
    use super::*;
    use crate::base::cast::low32;
    use libc::c_long;

    /// Runs a filter as linux/Documentation/userspace-api/seccomp_filter.rst has it.
    fn allows(filter: Filter, nr: c_long, arch: u32, args: [u64; 3]) -> bool {
        let mut data = [0; 64];
        data[0..4].copy_from_slice(&low32(nr.unsigned_abs()).to_le_bytes());
        data[4..8].copy_from_slice(&arch.to_le_bytes());
        for (index, argument) in args.iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_le_bytes());
        }
        let (mut at, mut a, mut x) = (0, 0_u32, 0_u32);
        loop {
            let one = filter.program()[at];
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

    const KVM_RUN: u64 = 0xae80;
    const KVM_SIGNAL_MSI: u64 = 0x4020_aea5;
    const KVM_CREATE_DEVICE: u64 = 0xc00c_aee0;
    const TUNSETIFF: u64 = 0x4004_54ca;
    const TCSETS2: u64 = 0x402c_542b;

    #[test]
    fn a_filter_allows_what_its_rules_say_and_nothing_else() {
        use Filter::{Device, Sockets, Vcpu};
        for (filter, rules) in [
            (Vcpu, &rules::VCPU),
            (Device, &rules::DEVICE),
            (Sockets, &rules::SOCKETS),
        ] {
            let Rules { calls, more, .. } = rules;
            for nr in 0..600 {
                let listed = [*calls, *more, &PROTECTING].concat().contains(&nr);
                // With arguments that no ioctl and no socket has.
                let allowed = allows(filter, nr, ARCH, [0; 3]);
                assert_eq!(allowed, listed, "{filter:?}: {nr}");
                let other = allows(filter, nr, 0x4000_0003, [0, KVM_SIGNAL_MSI, 0]);
                assert!(!other, "{filter:?}: {nr} of i386");
            }
            let protect = |bits: libc::c_int| {
                allows(
                    filter,
                    libc::SYS_mprotect,
                    ARCH,
                    [0, 4096, bits.unsigned_abs().into()],
                )
            };
            assert!(protect(libc::PROT_READ | libc::PROT_WRITE));
            assert!(!protect(libc::PROT_READ | libc::PROT_EXEC));
        }
    }

    #[test]
    fn requests_are_told_apart() {
        use Filter::{Device, Sockets, Vcpu};
        for (request, who) in [
            (KVM_RUN, &[Vcpu][..]),
            (KVM_CREATE_DEVICE, &[Vcpu]),
            (KVM_SIGNAL_MSI, &[Vcpu, Device, Sockets]),
            (TCSETS2, &[Vcpu]),
            (libc::TIOCGWINSZ, &[Device, Sockets]),
            (TUNSETIFF, &[]),
            (libc::TIOCSTI, &[]),
        ] {
            for filter in [Vcpu, Device, Sockets] {
                let allowed = allows(filter, libc::SYS_ioctl, ARCH, [3, request, 0]);
                assert_eq!(allowed, who.contains(&filter), "{filter:?}: {request:#x}");
            }
        }
    }

    #[test]
    fn connections_are_made_by_one_device_and_on_this_machine() {
        let socket = |filter, family: libc::c_int| {
            let family = family.unsigned_abs().into();
            allows(filter, libc::SYS_socket, ARCH, [family, 0, 0])
        };
        assert!(socket(Filter::Sockets, libc::AF_UNIX));
        for family in [libc::AF_INET, libc::AF_NETLINK, libc::AF_VSOCK] {
            assert!(!socket(Filter::Sockets, family), "{family}");
        }
        assert!(!socket(Filter::Device, libc::AF_UNIX));
        assert!(!socket(Filter::Vcpu, libc::AF_UNIX));
    }
}
