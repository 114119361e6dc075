//! The first vCPU's loop: enter the guest, serve the exit, until something ends the run.

use super::exit::{Exits, Step, internal_error};
use super::team::Team;
use super::vm::Vm;
use super::watchdog::Watchdog;
use crate::error::Result;
use crate::memory::GuestMemory;
use crate::report::Clock;
use crate::report::Ending;
use crate::report::stats::{Stats, StatsFile};
use crate::software::{self, Assists};
use crate::trace::collector::Collector;
use kvm_bindings::KVM_MP_STATE_HALTED;
use kvm_ioctls::VcpuFd;
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Called once at ready, while the timeout is suspended.
pub(crate) struct AtReady(pub(crate) Box<dyn FnOnce(&GuestMemory) + Send>);

impl fmt::Debug for AtReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtReady")
    }
}

/// Who follows a run.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    /// One byte 0x01 is written here at ready.
    pub(crate) ready_fd: Option<Arc<OwnedFd>>,
    /// Called at ready.
    pub(crate) at_ready: Option<AtReady>,
    /// Whether to read KVM's counters at ready.
    pub(crate) count: bool,
    /// Collects a trace of the first vCPU: its thread has the samples' timer, and reads its registers.
    pub(crate) trace: Option<Collector>,
}

/// When things happened, in microseconds of the run's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// The first `KVM_RUN`.
    pub(crate) entry: f64,
    /// The ready doorbell.
    pub(crate) ready: Option<f64>,
    /// The payload's start.
    pub(crate) started: Option<f64>,
    /// The guest's end.
    pub(crate) ended: f64,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Why it ended.
    pub(crate) ending: Ending,
    /// Its marks.
    pub(crate) times: Times,
    /// KVM's counters at ready, or at the end of a guest that never was; empty unless they were asked for.
    pub(crate) stats: Stats,
    /// Instructions completed for software KVM.
    pub(crate) assists: Assists,
    /// The trace collected.
    pub(crate) trace: Option<Collector>,
}

/// A run whose timers and descriptors exist, so that the runner can be confined before it begins.
#[derive(Debug)]
pub(crate) struct Run {
    watchdog: Watchdog,
    counters: Option<StatsFile>,
    observers: Observers,
    clock: Clock,
    times: Times,
    stats: Stats,
    assists: Assists,
}

impl Run {
    /// Opens what the run of this vCPU takes, and arms its timeout. The vCPU must outlive the run.
    ///
    /// # Errors
    /// [`crate::Error::System`].
    pub(crate) fn prepare(
        vcpu: &mut VcpuFd,
        observers: Observers,
        clock: Clock,
        timeout: Duration,
    ) -> Result<Self> {
        let trace = observers.trace.as_ref();
        let period = trace.map(|trace| Duration::from_secs(1) / trace.hz());
        Ok(Run {
            watchdog: Watchdog::start(vcpu, timeout, period)?,
            counters: observers.count.then(|| StatsFile::open(vcpu)).flatten(),
            observers,
            clock,
            times: Times::default(),
            stats: Stats::new(),
            assists: Assists::new(),
        })
    }

    /// Runs the guest to its end. The other vCPUs' threads are joined after it.
    ///
    /// # Errors
    /// What KVM or passing on the guest's output gave.
    pub(crate) fn until_end(
        mut self,
        vm: &mut Vm,
        exits: &Exits,
        team: Option<Team>,
    ) -> Result<Finished> {
        if let Some(trace) = &mut self.observers.trace {
            trace.begin(&vm.vcpu);
            self.watchdog.next_sample()?;
        }
        self.times.entry = self.clock.elapsed();
        let alone = team.is_none();
        let mut pending = VecDeque::new();
        let ending = loop {
            let step = match pending.pop_front() {
                Some(step) => step,
                None => self.step(vm, exits, alone)?,
            };
            match step {
                Step::Served => {}
                Step::Ready => self.ready(vm)?,
                Step::Started => self.started(),
                Step::End(ending) => break ending,
                Step::InternalError => break internal_error(&mut vm.vcpu),
                Step::Interrupted => self.interrupted(vm, team.as_ref(), &mut pending)?,
            }
        };
        self.times.ended = self.clock.elapsed();
        drop(team);
        if self.times.ready.is_none() {
            self.stats = self.count();
        }
        Ok(Finished {
            ending,
            times: self.times,
            stats: self.stats,
            assists: self.assists,
            trace: self.observers.trace,
        })
    }

    fn count(&self) -> Stats {
        let counters = self.counters.as_ref();
        counters.map(StatsFile::read).unwrap_or_default()
    }

    /// Enters the guest once. Where KVM cannot execute an instruction, it is completed here, if no other vCPU can come in
    /// between.
    fn step(&mut self, vm: &mut Vm, exits: &Exits, alone: bool) -> Result<Step> {
        let exit = vm.vcpu.run();
        if let Some(trace) = &mut self.observers.trace {
            trace.exit(&exit);
        }
        let step = exits.serve(exit)?;
        if alone
            && matches!(step, Step::InternalError)
            && software::complete(&vm.vcpu, &vm.memory, &mut self.assists)?
        {
            return Ok(Step::Served);
        }
        Ok(step)
    }

    fn ready(&mut self, vm: &Vm) -> Result<()> {
        if self.times.ready.is_some() {
            return Ok(());
        }
        self.times.ready = Some(self.clock.elapsed());
        self.observers.trace.iter_mut().for_each(Collector::ready);
        if let Some(fd) = &self.observers.ready_fd {
            // An orchestrator that is gone no longer waits for this.
            let _ = rustix::io::write(fd, &[1]);
        }
        self.stats = self.count();
        vm.devices.guest_is_ready();
        match self.observers.at_ready.take() {
            Some(AtReady(call)) => self.watchdog.suspended(|| call(&vm.memory)),
            None => Ok(()),
        }
    }

    fn started(&mut self) {
        if self.times.started.is_none() {
            self.times.started = Some(self.clock.elapsed());
            self.observers.trace.iter_mut().for_each(Collector::started);
        }
    }

    /// Looks for what the signal was for: a sample, other vCPUs' news, the end.
    fn interrupted(
        &mut self,
        vm: &Vm,
        team: Option<&Team>,
        pending: &mut VecDeque<Step>,
    ) -> Result<()> {
        self.watchdog.resume();
        if self.watchdog.sample_due()
            && let Some(trace) = &mut self.observers.trace
        {
            trace.sample(&vm.vcpu, &vm.memory)?;
            self.watchdog.next_sample()?;
            trace.resume();
        }
        for news in team.map(Team::news).unwrap_or_default() {
            pending.push_back(news?);
        }
        if let Some(stop) = self.watchdog.stopped()? {
            pending.push_back(Step::End(Ending::Stopped(stop)));
        } else if self.watchdog.take_look() && halted(&vm.vcpu) {
            pending.push_back(Step::End(Ending::Halted));
        }
        Ok(())
    }
}

/// Whether the vCPU has halted with interrupts off, so that it will never go on: how a kernel without a power switch halts.
fn halted(vcpu: &VcpuFd) -> bool {
    const INTERRUPTS: u64 = 1 << 9;
    let state = vcpu.get_mp_state();
    state.is_ok_and(|state| state.mp_state == KVM_MP_STATE_HALTED)
        && vcpu
            .get_regs()
            .is_ok_and(|regs| regs.rflags & INTERRUPTS == 0)
}
