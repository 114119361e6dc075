//! Guests in QEMU's microvm without KVM, whose PID 1 is `ci/guest`: for machines that reboot, and for several processors that
//! run in parallel.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use jiffy_abi::verdict::Verdict;

use crate::base::cache::Cache;
use crate::base::collect;
use crate::command::test::check::Context;
use crate::command::test::guests;
use crate::guest::{payload, userland};
use crate::machine::qemu::Ended;
use crate::machine::qemu::microvm::Microvm;

/// It has an RTC, whose memory survives a reset: there the guest counts its boots.
const MICROVM: &str = "isa-serial=on,rtc=on,accel=tcg,acpi=off";

/// What to run.
pub(super) struct Direct<'a> {
    pub(super) profile: &'a str,
    /// The test and its arguments.
    pub(super) words: &'a str,
    /// Number of processors.
    pub(super) cpus: u32,
    pub(super) memory_mib: u64,
    /// Whether a reset reboots the guest instead of ending it.
    pub(super) restarts: bool,
}

impl Default for Direct<'_> {
    fn default() -> Self {
        Self {
            profile: "default",
            words: "",
            cpus: 1,
            memory_mib: 128,
            restarts: false,
        }
    }
}

/// How a guest ended.
pub(super) struct Ran {
    ended: Ended,
    pub(super) stdout: String,
}

impl Ran {
    /// Whether its program succeeded.
    pub(super) fn is_fine(&self) -> bool {
        self.ended.verdict == Some(Verdict::Exit(0))
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended {
            verdict,
            timed_out,
            said,
            ..
        } = &self.ended;
        let stdout = &self.stdout;
        write!(f, "{verdict:?}, timed out: {timed_out}: {stdout}\n{said}")
    }
}

impl Direct<'_> {
    /// Runs it to its end.
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Ran> {
        let kernel = guests::vmlinux(context, self.profile)?;
        let (stdout, said) = collect::stream();
        let microvm = Microvm {
            kernel,
            archive: &payload::base(&userland::guest(context.layout)?)?,
            options: MICROVM,
            cpu: "EPYC",
            cpus: self.cpus,
            devices: &[],
            words: &format!("console=ttyS0 -- {}", self.words),
            memory_mib: self.memory_mib,
            restarts: self.restarts,
            timeout: Duration::from_secs(120),
            stdout,
        };
        let ended = microvm.run(Cache::open()?.scratch()?.path())?;
        let stdout = String::from_utf8_lossy(&said.bytes()).into_owned();
        Ok(Ran { ended, stdout })
    }
}

/// Keeps this machine busy until dropped: two computing threads per processor.
pub(super) struct Load {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..2 * processors).map(|_| {
            let done = Arc::clone(&done);
            thread::spawn(move || while !done.load(Ordering::Relaxed) {})
        });
        Self {
            threads: threads.collect(),
            done,
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // They do not panic.
            let _ = thread.join();
        }
    }
}
