//! A device's thread. It polls the driver's notifications and the device's own sources, and serves both.
//!
//! Each device has a thread, so that a guest with one vCPU computes while its disk writes, and somebody waits for packets
//! while the guest runs or sleeps. Threads are started before the guest's first instruction, not when the driver starts: by
//! then a filter allows no new ones. They are started after the process has entered its jail: a thread from before would
//! keep its root.

use super::device::Device;
use super::io::Io;
use super::queue::{Fault, Virtqueue};
use super::status::Status;
use crate::base::event::Event;
use crate::base::lock::lock;
use crate::base::signals::AllBlocked;
use crate::base::stop::{PATIENCE, Stop, vcpu_stops};
use crate::base::thread;
use crate::confine::seccomp;
use crate::error::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug)]
enum Command {
    /// Serve this driver.
    Activate(Box<Io>),
    /// Stop serving, and drop this when that is done.
    Reset(Done),
}

/// Waits until a command was obeyed, or never will be.
#[derive(Clone, Debug, Default)]
struct Waiter(Arc<(Mutex<bool>, Condvar)>);

/// Ends the wait when it is dropped.
#[derive(Debug)]
struct Done(Waiter);

impl Drop for Done {
    fn drop(&mut self) {
        let (done, condition) = &*(self.0).0;
        *lock(done) = true;
        condition.notify_all();
    }
}

impl Waiter {
    /// Waits, and calls `urge` from time to time, until this vCPU's thread is to stop itself.
    fn wait(&self, urge: impl Fn()) {
        let (done, condition) = &*self.0;
        let mut done = lock(done);
        while !*done && !vcpu_stops() {
            urge();
            let waited = condition.wait_timeout(done, PATIENCE);
            (done, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A device's thread, seen from the vCPUs'.
#[derive(Debug)]
pub(super) struct Worker {
    commands: Option<Sender<Command>>,
    event: Arc<Event>,
    stop: Stop,
    /// What the thread takes when it is started.
    unstarted: Option<Unstarted>,
    thread: Option<JoinHandle<()>>,
}

/// A device that waits for its thread, and the thread's end of the channel.
#[derive(Debug)]
struct Unstarted {
    device: Box<dyn Device>,
    commands: Receiver<Command>,
}

impl Worker {
    /// A thread that is yet to be started.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn new(device: Box<dyn Device>) -> Result<Self> {
        let (sender, commands) = channel();
        Ok(Worker {
            commands: Some(sender),
            event: Arc::new(Event::new()?),
            stop: Stop::default(),
            unstarted: Some(Unstarted { device, commands }),
            thread: None,
        })
    }

    /// Starts the thread, which waits for its driver. If it is to be confined and cannot be, it tells so in `status`, and
    /// serves nobody.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(super) fn start(&mut self, confine: bool, status: Arc<Status>) -> Result<()> {
        let Some(Unstarted { device, commands }) = self.unstarted.take() else {
            return Ok(());
        };
        thread::install_wake()?;
        let event = Arc::clone(&self.event);
        let stop = self.stop.clone();
        let filter = confine.then(|| device.filter());
        if confine {
            seccomp::prepare_allocator();
        }
        let blocked = AllBlocked::new();
        let thread = thread::spawn(format!("jiffy {}", device.name()), move || {
            thread::wakeable();
            match filter.map_or(Ok(()), seccomp::confine) {
                Ok(()) => run(device, &commands, &event, &stop),
                Err(error) => status.needs_reset(device.name(), &error.to_string()),
            }
        });
        drop(blocked);
        self.thread = Some(thread?);
        Ok(())
    }

    /// What asks the thread to leave the driver's virtqueues.
    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// The driver has set `DRIVER_OK`.
    pub(super) fn activate(&self, io: Io) {
        self.command(Command::Activate(Box::new(io)));
    }

    /// The driver has notified a virtqueue.
    pub(super) fn notify(&self) {
        self.event.signal();
    }

    /// Stops serving, and waits until the thread no longer touches virtqueues.
    pub(super) fn reset(&self) {
        if self.unstarted.is_some() {
            return;
        }
        let waiter = Waiter::default();
        self.stop.request();
        self.command(Command::Reset(Done(waiter.clone())));
        // A thread that is gone has dropped its commands, which is as good.
        waiter.wait(|| self.thread.iter().for_each(thread::wake));
    }

    fn command(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
            self.event.signal();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.request();
        self.commands = None;
        self.event.signal();
        if let Some(thread) = self.thread.take() {
            thread::join(thread, thread::wake);
        }
    }
}

/// The thread: serves one driver after the other, until nobody can send commands any more.
fn run(mut device: Box<dyn Device>, commands: &Receiver<Command>, event: &Event, stop: &Stop) {
    let mut next = idle(&mut *device, commands, event);
    while let Some(command) = next {
        next = match command {
            Command::Activate(mut io) => match serve(&mut *device, &mut io, commands, event) {
                Ok(command) => command,
                Err(fault) => {
                    io.status.fail(device.name(), &fault, &io.interrupt);
                    drop(io);
                    device.reset();
                    idle(&mut *device, commands, event)
                }
            },
            Command::Reset(done) => {
                device.reset();
                stop.clear();
                drop(done);
                idle(&mut *device, commands, event)
            }
        };
    }
}

/// Waits for a command while there is no driver; `None` when there will be none.
fn idle(device: &mut dyn Device, commands: &Receiver<Command>, event: &Event) -> Option<Command> {
    loop {
        event.clear();
        match commands.try_recv() {
            Ok(command) => return Some(command),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        let mut polled = vec![PollFd::new(event, PollFlags::IN)];
        polled.extend(device.idle_source());
        let ready = poll(&mut polled, None);
        let ready = ready.is_ok() && polled.get(1).is_some_and(|one| !one.revents().is_empty());
        if ready {
            device.idle_polled();
        }
    }
}

/// Serves one driver until the next command; `None` when there will be none.
fn serve(
    device: &mut dyn Device,
    io: &mut Io,
    commands: &Receiver<Command>,
    event: &Event,
) -> std::result::Result<Option<Command>, Fault> {
    device.activate(io)?;
    // The driver may have notified a virtqueue before the thread took the command, whose signal it cleared with the other.
    let (mut notified, mut events) = (true, Vec::new());
    loop {
        io.queues.iter_mut().for_each(Virtqueue::begin_round);
        if notified {
            event.clear();
        }
        // Looked for in every round, and after the event was cleared: one signal may stand for several commands.
        match commands.try_recv() {
            Ok(command) => return Ok(Some(command)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        // The events first: they are of the sources that the device had when it waited.
        if events.iter().any(|events: &PollFlags| !events.is_empty()) {
            device.polled(io, &events)?;
        }
        if notified {
            device.notified(io)?;
        }
        let more = io.queues.iter().any(Virtqueue::was_cut_short);
        (notified, events) = wait(device, event, more)?;
        notified |= more;
    }
}

/// Waits for notifications and for the device's sources; without waiting if there is `more` to do. Returns whether there
/// were notifications, and the events of the sources.
fn wait(
    device: &dyn Device,
    event: &Event,
    more: bool,
) -> std::result::Result<(bool, Vec<PollFlags>), Fault> {
    let none = Timespec::default();
    let limit = more.then_some(&none);
    let mut polled = vec![PollFd::new(event, PollFlags::IN)];
    polled.extend(device.sources());
    loop {
        match poll(&mut polled, limit) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(Fault::Host("poll", error.into())),
        }
    }
    let events: Vec<_> = polled[1..].iter().map(PollFd::revents).collect();
    Ok((!polled[0].revents().is_empty(), events))
}
