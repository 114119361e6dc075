//! The vCPUs beside the first: a thread each, which serves its own exits and leaves the rest to the first's.
//!
//! Linux wakes them itself, by messages between local APICs that never leave KVM. The first vCPU's thread alone judges
//! what ends the machine or marks its time, so that there is one place for that.

use super::exit::{Exits, Step, internal_error};
use super::signals::{Kick, Running, end_vcpu, timeout_signal};
use crate::base::lock::lock;
use crate::base::signals::{AllBlocked, unblock};
use crate::base::stop::vcpu_stops;
use crate::base::thread;
use crate::confine::seccomp::{self, Filter};
use crate::error::Result;
use kvm_ioctls::VcpuFd;
use std::mem;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What another vCPU saw, or why its thread cannot continue.
pub(crate) type News = Result<Step>;

/// What all vCPUs' threads share.
#[derive(Debug)]
struct Shared {
    exits: Exits,
    first: Kick,
    news: Mutex<Vec<News>>,
}

/// The threads; stopped and joined when dropped.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Team {
    /// Starts a thread for each vCPU; the calling thread is the first vCPU's.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(crate) fn start(vcpus: Vec<VcpuFd>, exits: &Exits, confine: bool) -> Result<Self> {
        let mut team = Team {
            shared: Arc::new(Shared {
                exits: exits.clone(),
                first: Kick::to_this_thread()?,
                news: Mutex::default(),
            }),
            threads: Vec::new(),
        };
        if confine {
            seccomp::prepare_allocator();
        }
        // The first vCPU's thread takes the signals of the process.
        let blocked = AllBlocked::new();
        for (vcpu, number) in vcpus.into_iter().zip(1..) {
            let shared = Arc::clone(&team.shared);
            let run = move || shared.run(vcpu, confine);
            team.threads
                .push(thread::spawn(format!("jiffy vcpu {number}"), run)?);
        }
        drop(blocked);
        Ok(team)
    }

    /// What has happened since the last call.
    pub(crate) fn news(&self) -> Vec<News> {
        mem::take(&mut *lock(&self.shared.news))
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.threads.iter().for_each(end_vcpu);
        for thread in self.threads.drain(..) {
            thread::join(thread, end_vcpu);
        }
    }
}

impl Shared {
    /// A thread's whole life.
    fn run(&self, mut vcpu: VcpuFd, confine: bool) {
        if confine && let Err(error) = seccomp::confine(Filter::Vcpu) {
            return self.tell(Err(error));
        }
        let running = Running::new(&mut vcpu);
        unblock(timeout_signal());
        while !vcpu_stops() {
            let news = match self.exits.serve(vcpu.run()) {
                // The signal says that this is to end.
                Ok(Step::Served | Step::Interrupted) => continue,
                // Completing the instruction for KVM would not be atomic between several vCPUs.
                Ok(Step::InternalError) => Ok(Step::End(internal_error(&mut vcpu))),
                news => news,
            };
            let goes_on = matches!(news, Ok(Step::Ready | Step::Started));
            self.tell(news);
            if !goes_on {
                break;
            }
        }
        drop(running);
    }

    fn tell(&self, news: News) {
        let mut all = lock(&self.news);
        // A guest may ring as often as it likes; what it rang for already, and nobody has heard yet, is not kept again.
        let rang = |news: &News| match news {
            Ok(step @ (Step::Ready | Step::Started)) => Some(mem::discriminant(step)),
            _ => None,
        };
        let known = rang(&news).is_some_and(|this| all.iter().any(|one| rang(one) == Some(this)));
        if !known {
            all.push(news);
        }
        drop(all);
        self.first.kick();
    }
}
