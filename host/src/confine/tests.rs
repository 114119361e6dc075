//! What a confined runner can no longer do, tried in processes of their own: this program again, told by its
//! environment what to try.

#![allow(unsafe_code)]

use super::seccomp::{self, Filter};
use super::{jail, landlock};
use crate::devices::irqchip::Controller;
use crate::devices::virtio::config::Config;
use crate::devices::virtio::device::Device;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::io::Io;
use crate::devices::virtio::memory::View;
use crate::devices::virtio::mmio::Transport;
use crate::devices::virtio::queue::Fault;
use crate::memory::{GuestMemory, Pages};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

const TRIAL: &str = "JIFFY_TRIAL";

/// A file in a jail, which is its root.
const FILE: &str = "file";

/// Runs a test of this program alone, as a trial.
fn trial(name: &str, directory: &str) -> ExitStatus {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([
            "--exact",
            &format!("confine::tests::{name}"),
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(TRIAL, directory)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    println!("{told}");
    output.status
}

#[test]
fn opening_a_file_after_seccomp_ends_the_process() {
    if std::env::var_os(TRIAL).is_some() {
        seccomp::confine(Filter::Vcpu).unwrap();
        // Not reached beyond this: SIGSYS.
        let _ = std::fs::read("/dev/null");
        std::process::exit(0);
    }
    let status = trial("opening_a_file_after_seccomp_ends_the_process", "");
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
}

/// A device that does this as soon as its driver is there.
#[derive(Debug)]
struct Does(fn(), Filter);

impl Device for Does {
    fn id(&self) -> u32 {
        4
    }

    fn name(&self) -> &'static str {
        "trial"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[]
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }

    fn activate(&mut self, _io: &mut Io) -> Result<(), Fault> {
        self.0();
        Ok(())
    }

    fn notified(&mut self, _io: &mut Io) -> Result<(), Fault> {
        Ok(())
    }

    fn filter(&self) -> Filter {
        self.1
    }
}

fn open() {
    let _ = std::fs::read("/dev/null");
}

/// Takes more from the heap than glibc's allocator keeps, in parts that it does not map one by one, and gives it back.
fn free() {
    drop(vec![vec![1_u8; 64 << 10]; 64]);
}

/// Has such a device work for a driver, and gives up on both.
fn work(does: fn(), filter: Filter, confine: bool) {
    let memory = GuestMemory::new(8, Pages::Small).unwrap();
    let interrupt = Interrupt::new(&Arc::new(Controller::new(None, None)), 5);
    let view = View::new(&memory).unwrap();
    let mut transport = Transport::new(Box::new(Does(does, filter)), interrupt, view).unwrap();
    transport.start(confine).unwrap();
    // Features, those above 32 first, and a driver that is ready (virtio 1.2, 4.2.2).
    for (register, value) in [(0x24, 1), (0x20, 1_u32), (0x70, 11), (0x70, 15)] {
        transport.write(register, &value.to_le_bytes());
    }
    // A reset waits until the thread has heard of all that came before.
    transport.write(0x70, &0_u32.to_le_bytes());
}

#[test]
fn opening_a_file_in_a_device_ends_the_process() {
    let name = "opening_a_file_in_a_device_ends_the_process";
    match std::env::var(TRIAL).as_deref() {
        Ok("device") => work(open, Filter::Device, true),
        Ok("sockets") => work(open, Filter::Sockets, true),
        Ok(_) => work(open, Filter::Device, false),
        Err(_) => {
            for trial_of in ["device", "sockets"] {
                let status = trial(name, trial_of);
                assert_eq!(status.signal(), Some(libc::SIGSYS), "{trial_of}: {status}");
            }
            let status = trial(name, "without a filter");
            assert!(status.success(), "{status}");
        }
    }
}

#[test]
fn a_device_may_give_memory_back() {
    if std::env::var_os(TRIAL).is_some() {
        return work(free, Filter::Device, true);
    }
    let status = trial("a_device_may_give_memory_back", "");
    assert!(status.success(), "{status}");
}

#[test]
fn a_jail_has_no_files_no_network_and_no_privileges() {
    if let Some(directory) = std::env::var_os(TRIAL) {
        // The test harness has threads; a user namespace wants one, so a process without them tries.
        // SAFETY: the child only makes system calls and allocates in a copy of this thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = tried(directory.as_ref());
            std::process::exit(code);
        }
        let mut code = 0;
        // SAFETY: `code` is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut code, 0) }, child);
        std::process::exit(libc::WEXITSTATUS(code));
    }
    let directory = tempfile::tempdir().unwrap();
    // Anybody may do anything with them, but for Landlock.
    let file = directory.path().join(FILE);
    std::fs::write(&file, "").unwrap();
    for (path, mode) in [(directory.path(), 0o777), (&file, 0o666)] {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let name = "a_jail_has_no_files_no_network_and_no_privileges";
    let status = trial(name, directory.path().to_str().unwrap());
    assert_eq!(status.code(), Some(0), "{status}");
}

/// The number of the first thing that a jail should not have let through.
fn tried(directory: &std::path::Path) -> i32 {
    let Ok(status) = std::fs::File::open("/proc/self/status") else {
        return 6;
    };
    if let Err(error) = jail::enter(directory) {
        eprintln!("{error}");
        return 1;
    }
    if std::path::Path::new("/etc").exists() || !std::path::Path::new(FILE).exists() {
        return 2;
    }
    let locked = landlock::is_there();
    if locked == std::fs::read(FILE).is_ok() || locked == std::fs::write("/new", "").is_ok() {
        return 7;
    }
    // As sockets are.
    if std::fs::remove_file(FILE).is_err() {
        return 8;
    }
    // Landlock has no say in UDP.
    if std::net::UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.connect("127.0.0.1:1"))
        .map_err(|error| error.raw_os_error())
        .err()
        != Some(Some(libc::ENETUNREACH))
    {
        return 3;
    }
    let status = std::io::read_to_string(status).unwrap_or_default();
    let none = |set: &str| {
        status
            .lines()
            .any(|line| line == format!("{set}:\t0000000000000000"))
    };
    if !none("CapEff") || !none("CapPrm") {
        return 4;
    }
    // SAFETY: a call without arguments.
    if unsafe { libc::geteuid() } == 0 {
        5
    } else {
        0
    }
}
