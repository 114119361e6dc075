//! Many machines in one process, some at a time, each in a thread of its own with its own timeout and outcome.
//!
//! They share an open /dev/kvm, and the kernel and initramfs in two sealed files of memory: with small pages a machine
//! maps these copy-on-write, so that it has no page of them for itself that it did not write to. A thread serves one
//! machine and no second, since it confines itself for good; the thread that starts them is not confined.

mod place;

use crate::boot::{self, Base, Config};
use crate::clock::Clock;
use crate::details::Details;
use crate::error::{Error, Result, system};
use crate::ports::Output;
use crate::report::{Outcome, Report};
use crate::run::Watch;
use crate::signals::Signals;
use crate::stdin::Stdin;
use crate::watchdog::{self, Kick};
use crate::{jail, seccomp};
use place::Square;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

pub(crate) use place::Place;

/// How many machines.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// All in all.
    pub count: u32,
    /// At a time.
    pub parallel: u32,
}

/// What became of them.
#[derive(Debug)]
pub struct Fleet {
    /// The machines' reports, in the order in which they were started. The clock of each started with its thread. One
    /// that could not be started has crashed, and its diagnosis says why.
    pub reports: Vec<Report>,
    /// Machines started and ended in a second.
    pub per_second: f64,
    /// Resident memory of this process in KiB for each machine, without the pages of guest memory that are mapped: what
    /// smaps_rollup of /proc/self tells when the first `parallel` machines are all ready, less what it told before them,
    /// less what pagemap tells of guest memory, by their number. The kernel's own structures are in none of these. `None`
    /// without [`Config::detailed`], which has ready machines wait for each other, and where the kernel lacks these files.
    pub rss_kib_per_vm: Option<f64>,
}

/// Boots machines of one configuration, each with streams of its own; SIGINT and SIGTERM end them all.
///
/// # Errors
/// No KVM, or files that cannot be read. What befalls one machine is in its report. A trace is not taken.
pub fn boot(
    size: Size,
    mut config: Config,
    mut streams: impl FnMut() -> Result<(Output, Stdin)>,
) -> Result<Fleet> {
    allow_descriptors();
    let details = config.detailed.then(Details::prepare);
    let base = Arc::new(Base::open(&mut config, details)?.in_memory()?);
    let first = size.count.min(size.parallel.max(1));
    let square = config.detailed.then(|| Square::new(first, &base));
    // Those that nobody takes in the end are not waited for either.
    let mut places = square.as_ref().map(Square::places).unwrap_or_default();
    let mut crew = Crew::new()?;
    if let Some(dir) = config.jail.take() {
        jail::enter(&dir)?;
    }
    seccomp::expect_threads();
    let clock = Clock::now();
    let mut started = 0;
    while !crew.interrupted && (started < size.count || !crew.alive.is_empty()) {
        if started < size.count && crew.alive.len() < first as usize {
            let place = places.pop();
            match streams() {
                Ok(streams) => crew.start(started, (&base, config.clone(), streams, place)),
                Err(error) => crew.over(started, failed(&error)),
            }
            started += 1;
        } else {
            crew.wait()?;
        }
    }
    drop(places);
    crew.end_all()?;
    let seconds = clock.elapsed() / 1e6;
    Ok(Fleet {
        per_second: f64::from(started) / seconds,
        rss_kib_per_vm: square.and_then(|square| square.kib_for_each()),
        reports: mem::take(&mut crew.reports).into_values().collect(),
    })
}

/// A machine has three descriptors at least, and the usual limit is for programs of the days of select(2). Where it cannot
/// be raised, machines that find none left say so.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// What a machine's thread takes along.
type Load<'a> = (&'a Arc<Base>, Config, (Output, Stdin), Option<Place>);

/// The threads, and the reports of those that have ended.
struct Crew {
    signals: Signals,
    interrupted: bool,
    alive: BTreeMap<u32, JoinHandle<Report>>,
    reports: BTreeMap<u32, Report>,
    bell: Arc<OwnedFd>,
    ending: Sender<u32>,
    ended: Receiver<u32>,
}

/// Says that a machine's thread is about to end, however it does.
struct Farewell {
    number: u32,
    bell: Arc<OwnedFd>,
    ending: Sender<u32>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // It fails when the crew is gone, which then waits for nobody.
        let _ = self.ending.send(self.number);
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}

impl Crew {
    fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Kick::expect()?;
        let (ending, ended) = channel();
        Ok(Crew {
            signals: Signals::take(&[libc::SIGINT, libc::SIGTERM])?,
            interrupted: false,
            alive: BTreeMap::new(),
            reports: BTreeMap::new(),
            bell: Arc::new(eventfd(0, flags).map_err(system("eventfd"))?),
            ending,
            ended,
        })
    }

    fn start(&mut self, number: u32, (base, config, streams, place): Load<'_>) {
        let base = Arc::clone(base);
        let farewell = Farewell {
            number,
            bell: Arc::clone(&self.bell),
            ending: self.ending.clone(),
        };
        let clock = Clock::now();
        let thread = Builder::new()
            .name(format!("jiffy vm {number}"))
            .stack_size(256 << 10)
            .spawn(move || {
                let _farewell = farewell;
                let watch = Watch {
                    place,
                    ..Watch::default()
                };
                match boot::boot_on(&base, config, streams, watch, clock) {
                    Ok((report, _)) => report,
                    Err(error) => failed(&error),
                }
            });
        match thread {
            Ok(thread) => {
                self.alive.insert(number, thread);
            }
            Err(error) => self.over(
                number,
                failed(&Error::System {
                    call: "clone",
                    error,
                }),
            ),
        }
    }

    fn over(&mut self, number: u32, report: Report) {
        self.reports.insert(number, report);
    }

    /// Waits until a machine has ended or the user interrupts, and takes the reports there are.
    fn wait(&mut self) -> Result<()> {
        let mut polled = [
            PollFd::new(&*self.bell, PollFlags::IN),
            PollFd::new(self.signals.descriptor(), PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(system("poll")(error)),
        }
        // The count of rings: those who rang are in the channel.
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        for number in self.ended.try_iter() {
            if let Some(thread) = self.alive.remove(&number) {
                let report = thread.join().unwrap_or_else(|_| panicked());
                self.reports.insert(number, report);
            }
        }
        if self.signals.heard() {
            watchdog::interrupt();
            self.interrupted = true;
            self.alive
                .values()
                .for_each(|thread| Kick::to(thread).kick());
        }
        Ok(())
    }

    /// Waits for all that are left.
    fn end_all(&mut self) -> Result<()> {
        while !self.alive.is_empty() {
            self.wait()?;
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.signals.give_back();
    }
}

/// The report of a machine that never ran.
fn failed(error: &Error) -> Report {
    crashed(error.to_string())
}

fn panicked() -> Report {
    crashed("the machine's thread panicked".to_owned())
}

fn crashed(why: String) -> Report {
    Report {
        schema: 1,
        outcome: Outcome::Crashed,
        exit_code: crate::diagnose::FAULT,
        diagnosis: vec![why],
        ..Report::default()
    }
}
