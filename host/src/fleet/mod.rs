//! Many machines in one process, some at a time, each in a thread of its own with its own timeout and outcome.
//!
//! They share an open /dev/kvm, and the kernel and initramfs in two sealed memory files: with small pages a machine maps
//! these copy-on-write, so that it has a page of them to itself only after writing to it. A thread serves one machine and
//! no second, since it confines itself for good; the thread that starts them is not confined.

mod barrier;
mod threads;

use crate::boot::{Base, Config, Output, Stdin};
use crate::confine::{jail, seccomp};
use crate::error::Result;
use crate::machine::run::AtReady;
use crate::report::Clock;
use crate::report::Report;
use crate::report::details::Details;
use barrier::{Barrier, Ticket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::mem;
use std::sync::Arc;
use threads::{Machine, Threads};

/// How many machines.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// In total.
    pub count: u32,
    /// At the same time.
    pub parallel: u32,
}

/// How they ended.
#[derive(Debug)]
pub struct Fleet {
    /// The machines' reports, in the order in which they were started. The clock of each started with its thread. One
    /// that could not be started has crashed, and its diagnosis says why.
    pub reports: Vec<Report>,
    /// Machines started and ended per second.
    pub per_second: f64,
    /// Resident memory of this process in KiB for each machine, without mapped pages of guest memory: smaps_rollup of
    /// /proc/self when the first `parallel` machines are all ready, less what it was before them, less guest memory by
    /// pagemap, divided by their number. The kernel's own structures do not count. `None` without [`Config::detailed`],
    /// which makes ready machines wait for each other, and where the kernel lacks these files.
    pub rss_kib_per_vm: Option<f64>,
}

/// Boots machines of one configuration, each with streams of its own; SIGINT and SIGTERM end them all.
///
/// # Errors
/// No KVM, or files that cannot be read. What goes wrong with one machine is in its report. No trace is taken.
pub fn boot(
    size: Size,
    mut config: Config,
    mut streams: impl FnMut() -> Result<(Output, Stdin)>,
) -> Result<Fleet> {
    allow_descriptors();
    let details = config.detailed.then(Details::prepare);
    let base = Arc::new(Base::open(&mut config, details)?.in_memory()?);
    let first = size.count.min(size.parallel.max(1));
    let barrier = config.detailed.then(|| Barrier::new(first, &base));
    // Tickets that no machine takes are dropped in the end, and not waited for either.
    let mut tickets = barrier.as_ref().map(Barrier::tickets).unwrap_or_default();
    let mut threads = Threads::new()?;
    if let Some(dir) = config.jail.take() {
        jail::enter(&dir)?;
    }
    seccomp::prepare_allocator();
    let clock = Clock::now();
    let mut started = 0;
    while !threads.interrupted && (started < size.count || threads.running() > 0) {
        if started < size.count && threads.running() < first as usize {
            let ticket = tickets.pop();
            match streams() {
                Ok(streams) => threads.start(
                    started,
                    Machine {
                        base: Arc::clone(&base),
                        config: config.clone(),
                        streams,
                        at_ready: ticket.map(wait_at_ready),
                    },
                ),
                Err(error) => threads.failed(started, error.to_string()),
            }
            started += 1;
        } else {
            threads.wait()?;
        }
    }
    drop(tickets);
    threads.wait_for_all()?;
    let seconds = clock.elapsed() / 1e6;
    Ok(Fleet {
        per_second: f64::from(started) / seconds,
        rss_kib_per_vm: barrier.and_then(|barrier| barrier.kib_for_each()),
        reports: mem::take(&mut threads.reports).into_values().collect(),
    })
}

fn wait_at_ready(ticket: Ticket) -> AtReady {
    AtReady(Box::new(move |memory| ticket.wait(memory)))
}

/// Raises the limit of open files: a machine has at least three, and the usual limit is made for select(2). Where it cannot
/// be raised, machines that find no descriptor left say so.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
