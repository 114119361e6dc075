//! The vCPU loop: enter the guest, serve its port, until something ends it.

use crate::clock::Clock;
use crate::error::{Result, kvm};
use crate::fleet::Place;
use crate::jail;
use crate::layout;
use crate::ports::{Event, Ports};
use crate::seccomp::{self, Filter};
use crate::software::{self, Assists};
use crate::stats::{Stats, StatsFile};
use crate::team::{News, Team};
use crate::trace::Collector;
use crate::vm::Vm;
use crate::watchdog::{Stop, Watchdog};
use jiffy_abi::port;
use kvm_ioctls::VcpuExit;
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Why the guest runs no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It wrote to the exit port, or nobody reads its output any more.
    Ended,
    /// It reset the machine.
    Reset,
    /// A triple fault.
    TripleFault,
    /// KVM could not go on; what it said.
    KvmError(String),
    /// It was stopped from outside.
    Stopped(Stop),
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    /// Why it ended.
    pub ending: Ending,
    /// Microseconds at the ready doorbell.
    pub ready: Option<f64>,
    /// Microseconds at the payload's start.
    pub started: Option<f64>,
    /// Microseconds at the end.
    pub ended: f64,
    /// KVM's counters at ready, or at the end of a guest that never was; empty unless they were asked for.
    pub stats: Stats,
    /// Instructions completed for software KVM.
    pub assists: Assists,
    /// The trace collected.
    pub trace: Option<Collector>,
}

/// What the loop does beside serving the guest.
#[derive(Debug, Default)]
pub struct Watch {
    /// One byte 0x01 is written here at ready.
    pub ready_fd: Option<Arc<OwnedFd>>,
    /// Stand here at ready until other machines do.
    pub(crate) place: Option<Place>,
    /// Read KVM's counters at ready.
    pub count: bool,
    /// Lock the process up here before the guest's first instruction.
    pub jail: Option<PathBuf>,
    /// Confine this thread before the guest's first instruction.
    pub confine: bool,
    /// Collects a trace.
    pub trace: Option<Collector>,
}

/// Runs the guest to its end.
///
/// # Errors
/// What KVM or passing on the guest's output gave.
pub fn run(
    vm: &mut Vm,
    ports: &Arc<Mutex<Ports>>,
    mut watch: Watch,
    clock: Clock,
    timeout: Duration,
) -> Result<Run> {
    let mut watchdog = Watchdog::start(&mut vm.vcpu, timeout)?;
    let stats = watch.count.then(|| StatsFile::open(&vm.vcpu)).flatten();
    let count = || stats.as_ref().map(StatsFile::read).unwrap_or_default();
    let mut run = Run {
        ending: Ending::Ended,
        ready: None,
        started: None,
        ended: 0.0,
        stats: Stats::new(),
        assists: Assists::new(),
        trace: watch.trace.take(),
    };
    if let Some(trace) = &mut run.trace {
        watchdog.sample_every(Duration::from_secs(1) / trace.hz())?;
        trace.begin(&vm.vcpu);
    }
    // Threads that are started from here on are in the jail too.
    if let Some(dir) = &watch.jail {
        jail::enter(dir)?;
    }
    vm.devices.start(watch.confine)?;
    let team = match mem::take(&mut vm.others) {
        others if others.is_empty() => None,
        others => Some(Team::start(others, ports, &vm.devices, watch.confine)?),
    };
    if watch.confine {
        seccomp::confine(Filter::Vcpu)?;
    }
    let mut steps = VecDeque::new();
    run.ending = loop {
        let step = match steps.pop_front() {
            Some(step) => step,
            None => step(vm, ports, &mut run)?,
        };
        match step {
            Step::Interrupted => steps.extend(interrupted(vm, &watchdog, team.as_ref(), &mut run)?),
            Step::Event(Event::Continue) => {}
            Step::Event(Event::Ready) if run.ready.is_none() => {
                run.ready = Some(clock.elapsed());
                run.trace.iter_mut().for_each(Collector::ready);
                if let Some(fd) = &watch.ready_fd {
                    // An orchestrator that has gone away no longer waits: nothing to tell it.
                    let _ = rustix::io::write(fd, &[1]);
                }
                run.stats = count();
                vm.devices.guest_is_ready();
                if let Some(place) = watch.place.take() {
                    watchdog.aside(|| place.stand(&vm.memory))?;
                }
            }
            Step::Event(Event::Started) if run.started.is_none() => {
                run.started = Some(clock.elapsed());
                run.trace.iter_mut().for_each(Collector::started);
            }
            Step::Event(Event::Ready | Event::Started) => {}
            Step::Event(Event::End) => break Ending::Ended,
            Step::Event(Event::Reset) => break Ending::Reset,
            Step::End(ending) => break ending,
        }
    };
    run.ended = clock.elapsed();
    drop(team);
    if run.ready.is_none() {
        run.stats = count();
    }
    Ok(run)
}

enum Step {
    Event(Event),
    End(Ending),
    /// A signal made KVM_RUN return.
    Interrupted,
}

fn step(vm: &mut Vm, ports: &Mutex<Ports>, run: &mut Run) -> Result<Step> {
    let ports = || ports.lock().unwrap_or_else(PoisonError::into_inner);
    let exit = vm.vcpu.run();
    if let Some(trace) = &mut run.trace {
        trace.exit(&exit);
    }
    let step = match exit {
        Ok(VcpuExit::IoOut(port, data)) => Step::Event(ports().write(port, data)?),
        Ok(VcpuExit::IoIn(port, data)) => {
            ports().read(port, data);
            Step::Event(Event::Continue)
        }
        Ok(VcpuExit::MmioRead(at, data)) => {
            vm.devices.read(at, data);
            Step::Event(Event::Continue)
        }
        Ok(VcpuExit::MmioWrite(at, &[port::READY_BYTE])) if layout::BOOT_TIMERS.contains(&at) => {
            Step::Event(Event::Ready)
        }
        Ok(VcpuExit::MmioWrite(at, data)) => {
            vm.devices.write(at, data);
            Step::Event(Event::Continue)
        }
        Ok(VcpuExit::Shutdown) => Step::End(Ending::TripleFault),
        Ok(VcpuExit::InternalError) => {
            if software::complete(&vm.vcpu, &vm.memory, &mut run.assists)? {
                Step::Event(Event::Continue)
            } else {
                Step::End(Ending::KvmError(internal_error(vm)))
            }
        }
        Ok(other) => Step::End(Ending::KvmError(format!("unexpected exit {other:?}"))),
        Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {
            Step::Interrupted
        }
        Err(error) => return Err(kvm("KVM_RUN")(error)),
    };
    Ok(step)
}

/// Looks for what the signal was for: a sample, other vCPUs' news, the end.
fn interrupted(
    vm: &Vm,
    watchdog: &Watchdog,
    team: Option<&Team>,
    run: &mut Run,
) -> Result<Vec<Step>> {
    watchdog.resume();
    if watchdog.sample_due()
        && let Some(trace) = &mut run.trace
    {
        trace.sample(vm)?;
        watchdog.next_sample()?;
        trace.resume();
    }
    let mut steps = Vec::new();
    for news in team.map(Team::news).unwrap_or_default() {
        steps.push(match news {
            News::Event(event) => Step::Event(event),
            News::End(ending) => Step::End(ending),
            News::Failed(error) => return Err(error),
        });
    }
    let stopped = watchdog.stopped().map(Ending::Stopped);
    steps.extend(stopped.map(Step::End));
    Ok(steps)
}

#[allow(unsafe_code)]
fn internal_error(vm: &mut Vm) -> String {
    // SAFETY: the exit reason said that this member of the union is the one that KVM filled.
    let failure = unsafe { vm.vcpu.get_kvm_run().__bindgen_anon_1.emulation_failure };
    if failure.suberror != kvm_bindings::KVM_INTERNAL_ERROR_EMULATION {
        return format!("KVM internal error {}", failure.suberror);
    }
    "KVM cannot emulate the instruction".to_owned()
}
