//! The vCPUs beside the first: a thread each, which serves what is its own and tells the first the rest.
//!
//! Linux wakes them itself, by messages between local APICs that never leave KVM. The first vCPU's thread judges
//! everything that ends the machine or marks its time, so that there is one place for that.

use crate::devices::{Blocked, Devices};
use crate::error::{Error, Result, kvm};
use crate::ports::{Event, Ports};
use crate::run::Ending;
use crate::seccomp::{self, Filter};
use crate::watchdog::{Kick, Kickable};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What another vCPU saw.
#[derive(Debug)]
pub(crate) enum News {
    /// The guest said something by a port.
    Event(Event),
    /// The machine cannot go on.
    End(Ending),
    /// The runner cannot.
    Failed(Error),
}

/// What all vCPUs' threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    ports: Arc<Mutex<Ports>>,
    devices: Arc<Devices>,
    lead: Kick,
    news: Mutex<Vec<News>>,
    stop: AtomicBool,
}

/// The threads; ended and joined when dropped.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
}

impl Team {
    /// Starts a thread for each vCPU; the caller's is the first's.
    pub(crate) fn start(
        vcpus: Vec<VcpuFd>,
        ports: &Arc<Mutex<Ports>>,
        devices: &Arc<Devices>,
        confine: bool,
    ) -> Result<Self> {
        let mut team = Team {
            shared: Arc::new(Shared {
                ports: Arc::clone(ports),
                devices: Arc::clone(devices),
                lead: Kick::to_this_thread()?,
                news: Mutex::default(),
                stop: AtomicBool::new(false),
            }),
            members: Vec::new(),
        };
        if confine {
            seccomp::expect_threads();
        }
        // The first vCPU's thread takes the signals of the process.
        let signals = (!vcpus.is_empty()).then(Blocked::all);
        for (vcpu, number) in vcpus.into_iter().zip(1..) {
            let shared = Arc::clone(&team.shared);
            let thread = Builder::new()
                .name(format!("jiffy vcpu {number}"))
                .stack_size(256 << 10)
                .spawn(move || shared.live(vcpu, confine));
            team.members.push(thread.map_err(|error| Error::System {
                call: "clone",
                error,
            })?);
        }
        drop(signals);
        Ok(team)
    }

    /// What has happened since the last call.
    pub(crate) fn news(&self) -> Vec<News> {
        mem::take(
            &mut *self
                .shared
                .news
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for member in self.members.drain(..) {
            Kick::to(&member).kick();
            let _ = member.join();
        }
    }
}

impl Shared {
    fn live(&self, mut vcpu: VcpuFd, confine: bool) {
        if confine && let Err(error) = seccomp::confine(Filter::Vcpu) {
            return self.tell(News::Failed(error));
        }
        let kickable = Kickable::new(&mut vcpu);
        while !self.stop.load(Ordering::Acquire) {
            let news = match self.step(&mut vcpu) {
                Ok(None) => continue,
                Ok(Some(news)) => news,
                Err(error) => News::Failed(error),
            };
            // A machine that has ended runs no longer, whatever this vCPU's next instruction is.
            let last = !matches!(news, News::Event(Event::Ready | Event::Started));
            self.tell(news);
            if last {
                break;
            }
        }
        drop(kickable);
    }

    fn tell(&self, news: News) {
        self.news
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(news);
        self.lead.kick();
    }

    fn step(&self, vcpu: &mut VcpuFd) -> Result<Option<News>> {
        let ports = || self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let end = |what: String| Ok(Some(News::End(Ending::KvmError(what))));
        match vcpu.run() {
            Ok(VcpuExit::IoOut(port, data)) => match ports().write(port, data)? {
                Event::Continue => {}
                event => return Ok(Some(News::Event(event))),
            },
            Ok(VcpuExit::IoIn(port, data)) => ports().read(port, data),
            Ok(VcpuExit::MmioRead(at, data)) => self.devices.read(at, data),
            Ok(VcpuExit::MmioWrite(at, data)) => self.devices.write(at, data),
            Ok(VcpuExit::Shutdown) => return Ok(Some(News::End(Ending::TripleFault))),
            Ok(other) => return end(format!("unexpected exit of another vCPU: {other:?}")),
            Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {}
            Err(error) => return Err(kvm("KVM_RUN")(error)),
        }
        Ok(None)
    }
}
