//! A device's thread. It waits for the driver's bell and for what stands behind the device, and serves both.
//!
//! A thread for each device, and not the vCPU's own: a guest with one processor computes while its disk writes, and
//! a packet that arrives while the guest runs or sleeps needs somebody who waits for it. Threads are started before the
//! guest's first instruction, not when the driver starts: by then a filter allows no new ones. And not before the process
//! is in its jail, whose threads have another root.
//!
//! unsafe lives here because signal masks have no safe interface.
#![allow(unsafe_code)]

use super::interrupt::Interrupt;
use super::memory::View;
use super::ring::{Fault, Ring};
use super::{Config, Device};
use crate::error::{Error, Result};
use crate::seccomp;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// What a device works with while its driver runs it.
#[derive(Debug)]
pub struct Io {
    /// The guest's memory.
    pub view: View,
    /// Its queues, those that the driver does not use among them.
    pub rings: Vec<Ring>,
    /// Its interrupt.
    pub interrupt: Interrupt,
    /// The features that the driver took.
    pub features: u64,
    /// Its configuration, which the driver reads.
    pub config: Arc<Config>,
    /// Told of a fault.
    pub fail: Failure,
}

/// Where a thread that gave up says so.
#[derive(Clone, Debug, Default)]
pub struct Failure(pub(super) Arc<super::mmio::Shared>);

#[derive(Debug)]
enum Order {
    Serve(Box<Io>),
    /// Stop serving, and say when that is so.
    Park(SyncSender<()>),
}

/// A device's thread, seen from the vCPU's.
#[derive(Debug)]
pub struct Worker {
    orders: Option<Sender<Order>>,
    bell: Arc<OwnedFd>,
    /// What the thread will have.
    waiting: Option<Waiting>,
    thread: Option<JoinHandle<()>>,
}

/// A device that waits for its thread, and the thread's end of what it hears.
#[derive(Debug)]
struct Waiting {
    device: Box<dyn Device>,
    orders: Receiver<Order>,
}

impl Worker {
    /// A thread that is yet to be started.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn new(device: Box<dyn Device>) -> Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(crate::error::system("eventfd"))?;
        let (sender, orders) = channel();
        Ok(Worker {
            orders: Some(sender),
            bell: Arc::new(bell),
            waiting: Some(Waiting { device, orders }),
            thread: None,
        })
    }

    /// Starts the thread, which waits for its driver; confined, or it tells of a failure and serves nobody.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn start(&mut self, confine: bool, failure: Failure) -> Result<()> {
        let Some(Waiting { device, orders }) = self.waiting.take() else {
            return Ok(());
        };
        let bell = Arc::clone(&self.bell);
        let filter = confine.then(|| device.filter());
        if confine {
            seccomp::expect_threads();
        }
        let signals = Blocked::all();
        let thread = Builder::new()
            .name(format!("jiffy {}", device.name()))
            .stack_size(256 << 10)
            .spawn(move || match filter.map_or(Ok(()), seccomp::confine) {
                Ok(()) => live(device, &orders, &bell),
                Err(error) => failure.0.explain(device.name(), &error.to_string()),
            });
        drop(signals);
        self.thread = Some(thread.map_err(|error| Error::System {
            call: "clone",
            error,
        })?);
        Ok(())
    }

    /// The driver is ready.
    pub fn serve(&self, io: Io) {
        self.order(Order::Serve(Box::new(io)));
    }

    /// The driver has rung.
    pub fn ring(&self) {
        // It fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }

    /// Stops serving, and waits until the thread no longer touches queues.
    pub fn park(&self) {
        if self.waiting.is_some() {
            return;
        }
        let (done, parked) = sync_channel(1);
        self.order(Order::Park(done));
        // An error means that the thread is gone, which is as good.
        let _ = parked.recv();
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
            self.ring();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread: serves one driver after the other, until nobody can give orders any more.
fn live(mut device: Box<dyn Device>, orders: &Receiver<Order>, bell: &OwnedFd) {
    let mut next = orders.recv().ok();
    while let Some(order) = next {
        next = match order {
            Order::Serve(mut io) => match serve(&mut *device, &mut io, orders, bell) {
                Ok(order) => order,
                Err(fault) => {
                    io.fail.0.fail(device.name(), &fault, &io.interrupt);
                    drop(io);
                    device.reset();
                    orders.recv().ok()
                }
            },
            Order::Park(done) => {
                device.reset();
                let _ = done.send(());
                orders.recv().ok()
            }
        };
    }
}

/// Serves one driver until the next order; `None` when there will be none.
fn serve(
    device: &mut dyn Device,
    io: &mut Io,
    orders: &Receiver<Order>,
    bell: &OwnedFd,
) -> std::result::Result<Option<Order>, Fault> {
    device.start(io)?;
    let (mut rung, mut events) = (false, Vec::new());
    loop {
        io.rings.iter_mut().for_each(Ring::begin);
        if rung {
            let mut count = [0; 8];
            let _ = rustix::io::read(bell, &mut count);
        }
        // Looked for in every round, and after the bell was silenced: one ring may stand for several orders.
        match orders.try_recv() {
            Ok(order) => return Ok(Some(order)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        // The events first: they are of the sources that the device had when it waited.
        if events.iter().any(|events: &PollFlags| !events.is_empty()) {
            device.polled(io, &events)?;
        }
        if rung {
            device.rung(io)?;
        }
        let more = io.rings.iter().any(Ring::cut_short);
        (rung, events) = wait(device, bell, more)?;
        rung |= more;
    }
}

/// Waits for the bell, and for what the device waits for; or only looks whether they are there.
fn wait(
    device: &dyn Device,
    bell: &OwnedFd,
    look: bool,
) -> std::result::Result<(bool, Vec<PollFlags>), Fault> {
    let none = Timespec::default();
    let limit = look.then_some(&none);
    let mut polled = vec![PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)];
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

/// All signals blocked, until dropped: a thread inherits that, so that each signal goes to a vCPU's thread, which it
/// has to interrupt.
pub(crate) struct Blocked(libc::sigset_t);

impl Blocked {
    pub(crate) fn all() -> Self {
        // SAFETY: sets are plain data, filled before they are read; the calls fail only for a bad `how`.
        unsafe {
            let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
                (mem::zeroed(), mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Blocked(before)
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by the call in `all`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}
