//! The threads of a fleet's machines, and the reports of those that have ended.

use crate::base::event::Event;
use crate::base::lock::lock;
use crate::base::signals::SignalFd;
use crate::base::stop::{self, POLL_PATIENCE};
use crate::base::thread;
use crate::boot::{self, Base, Config, Output, Stdin};
use crate::error::{Result, system};
use crate::machine::run::{AtReady, Observers};
use crate::machine::signals::{self, Kick};
use crate::report::Clock;
use crate::report::{FAULT, Report};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What one machine's thread needs.
pub(super) struct Machine {
    pub(super) base: Arc<Base>,
    pub(super) config: Config,
    pub(super) streams: (Output, Stdin),
    pub(super) at_ready: Option<AtReady>,
}

/// The threads, by the numbers of their machines.
pub(super) struct Threads {
    signals: SignalFd,
    pub(super) interrupted: bool,
    running: BTreeMap<u32, JoinHandle<Report>>,
    pub(super) reports: BTreeMap<u32, Report>,
    ended: Arc<Ended>,
}

/// The machines that have ended since the last look, and the event that says so.
struct Ended {
    numbers: Mutex<Vec<u32>>,
    event: Event,
}

/// Says that a machine's thread ends, however it does.
struct EndNotice {
    number: u32,
    ended: Arc<Ended>,
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        lock(&self.ended.numbers).push(self.number);
        self.ended.event.signal();
    }
}

impl Threads {
    /// None yet. The signals of a user are this thread's from now on.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn new() -> Result<Self> {
        Kick::install()?;
        Ok(Threads {
            signals: SignalFd::new(&signals::ENDING)?,
            interrupted: false,
            running: BTreeMap::new(),
            reports: BTreeMap::new(),
            ended: Arc::new(Ended {
                numbers: Mutex::default(),
                event: Event::new()?,
            }),
        })
    }

    /// How many machines run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Starts a machine's thread; one that cannot be started has crashed.
    pub(super) fn start(&mut self, number: u32, machine: Machine) {
        let notice = EndNotice {
            number,
            ended: Arc::clone(&self.ended),
        };
        let clock = Clock::now();
        let run = move || {
            let _notice = notice;
            machine.boot(clock)
        };
        match thread::spawn(format!("jiffy vm {number}"), run) {
            Ok(thread) => {
                self.running.insert(number, thread);
            }
            Err(error) => self.failed(number, error.to_string()),
        }
    }

    /// A machine that never ran, for this reason.
    pub(super) fn failed(&mut self, number: u32, reason: String) {
        self.reports.insert(number, Report::crashed(reason));
    }

    /// Waits until a machine has ended or the user interrupts, and takes the reports that have come.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn wait(&mut self) -> Result<()> {
        let mut polled = [
            PollFd::new(&self.ended.event, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        // A kick may come just before a thread blocks, so that those who are to end are kicked again and again.
        match poll(&mut polled, self.interrupted.then_some(&POLL_PATIENCE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(system("poll")(error)),
        }
        self.ended.event.clear();
        for number in mem::take(&mut *lock(&self.ended.numbers)) {
            if let Some(thread) = self.running.remove(&number) {
                let panicked = |_| Report::crashed("the machine's thread panicked".to_owned());
                let report = thread.join().unwrap_or_else(panicked);
                self.reports.insert(number, report);
            }
        }
        if self.signals.take() {
            if stop::interrupt() {
                // Who asks twice does not want to wait.
                std::process::exit(i32::from(FAULT));
            }
            self.interrupted = true;
        }
        if self.interrupted {
            let running = self.running.values();
            running.for_each(|thread| Kick::to(thread).kick());
        }
        Ok(())
    }

    /// Waits for all that are left.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn wait_for_all(&mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.wait()?;
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.signals.restore();
    }
}

impl Machine {
    fn boot(self, clock: Clock) -> Report {
        let observers = Observers {
            ready_fd: self.config.ready_fd.clone(),
            at_ready: self.at_ready,
            count: self.config.detailed,
            trace: None,
        };
        match boot::boot_on(&self.base, &self.config, self.streams, observers, clock) {
            Ok((report, _)) => report,
            Err(error) => Report::crashed(error.to_string()),
        }
    }
}
