//! Collects a trace while the run loop runs.

use super::image;
use super::raw::{Exit, SCHEMA, Sample, Trace};
use super::reason::Reason;
use super::stamps::{self, Scale, Tick};
use super::unwind::Unwinder;
use super::unwind::stack::{Registers, STACK, Stack};
use crate::base::cast::to_usize;
use crate::error::{Result, kvm};
use crate::explain::dmesg;
use crate::explain::symbols::Symbols;
use crate::memory::{GuestMemory, paging};
use crate::report::Clock;
use crate::report::stats::{Selection, StatsFile};
use crate::report::{Kind, probe};
use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::collections::HashMap;
use std::path::Path;

/// The most that is kept.
const MAX_SAMPLES: usize = 1 << 20;
const MAX_EXITS: usize = 1 << 18;

/// Kernel stacks are of this size and aligned to it (`THREAD_SIZE`): nothing of a stack lies behind.
const STACK_ALIGN: u64 = 16 << 10;

/// The time stamp counter's register.
const IA32_TSC: u32 = 0x10;

/// KVM's counters that each sample records; the first counts guest instructions on software KVM only.
const COUNTERS: [&str; 2] = ["insn_emulation", "exits"];

/// What was collected so far.
#[derive(Debug)]
pub(crate) struct Collector {
    clock: Clock,
    start: f64,
    first: Tick,
    /// When the samples' timer was last armed, and when the runner last served the guest.
    armed: f64,
    served: f64,
    unwinder: Unwinder,
    symbols: Symbols,
    counters: Option<(StatsFile, Selection<2>)>,
    stack: Box<[u8; STACK]>,
    callers: HashMap<Vec<u64>, usize>,
    reasons: HashMap<Reason, usize>,
    trace: Trace,
}

impl Collector {
    /// Gets ready to sample a kernel at `hz`.
    ///
    /// # Errors
    /// [`crate::Error::Read`].
    pub(crate) fn new(kernel: &Path, hz: u32, clock: Clock) -> Result<Self> {
        let image = image::read(kernel)?;
        Ok(Collector {
            clock,
            start: 0.0,
            armed: 0.0,
            served: 0.0,
            first: Tick::default(),
            unwinder: Unwinder::parse(&image),
            symbols: Symbols::parse(&image),
            counters: None,
            stack: Box::new([0; STACK]),
            callers: HashMap::new(),
            reasons: HashMap::new(),
            trace: Trace {
                schema: SCHEMA,
                hz,
                ..Trace::default()
            },
        })
    }

    /// The guest is about to run its first instruction.
    pub(crate) fn begin(&mut self, vcpu: &VcpuFd) {
        self.counters = StatsFile::open(vcpu).and_then(|file| {
            let selection = file.select(COUNTERS)?;
            Some((file, selection))
        });
        self.start = self.clock.elapsed();
        self.first = self.tick(vcpu);
    }

    /// Samples in a second.
    #[must_use]
    pub(crate) fn hz(&self) -> u32 {
        self.trace.hz
    }

    fn now(&self) -> f64 {
        self.clock.elapsed() - self.start
    }

    fn tick(&self, vcpu: &VcpuFd) -> Tick {
        let entry = kvm_msr_entry {
            index: IA32_TSC,
            ..Default::default()
        };
        let before = self.now();
        let tsc = Msrs::from_entries(&[entry]).ok().and_then(|mut msrs| {
            vcpu.get_msrs(&mut msrs).ok()?;
            Some(msrs.as_slice().first()?.data)
        });
        Tick {
            tsc: tsc.unwrap_or(0),
            us: f64::midpoint(before, self.now()),
        }
    }

    /// Looks where the vCPU is.
    ///
    /// # Errors
    /// [`crate::Error::Kvm`].
    pub(crate) fn sample(&mut self, vcpu: &VcpuFd, memory: &GuestMemory) -> Result<()> {
        if self.trace.samples.len() >= MAX_SAMPLES {
            self.trace.dropped += 1;
            return Ok(());
        }
        let us = self.interrupted();
        let regs = vcpu.get_regs().map_err(kvm("KVM_GET_REGS"))?;
        let sregs = vcpu.get_sregs().map_err(kvm("KVM_GET_SREGS"))?;
        let user = sregs.cs.selector & 3 == 3;
        let ip = if user {
            regs.rip
        } else {
            self.unwinder.image().linked(regs.rip)
        };
        let (chain, how) = if user {
            Default::default()
        } else {
            let len = copy_stack(memory, sregs.cr3, regs.rsp, &mut self.stack);
            let start = Registers {
                ip,
                sp: regs.rsp,
                bp: regs.rbp,
            };
            self.unwinder
                .callers(start, Stack::new(regs.rsp, &self.stack[..len]))
        };
        let count = self.callers.len();
        let callers = *self.callers.entry(chain).or_insert(count);
        let [instructions, exits] = match &self.counters {
            Some((file, selection)) => file.values(selection),
            None => [0; 2],
        };
        self.trace.samples.push(Sample {
            us,
            cost: 0.0,
            ip,
            user,
            callers,
            how,
            instructions,
            exits,
        });
        Ok(())
    }

    /// When the guest stopped for the sample that is due: when the timer fired, since getting here is the sample's cost; or
    /// now, if it fired while the runner was serving the guest.
    fn interrupted(&self) -> f64 {
        let due = self.armed + 1e6 / f64::from(self.trace.hz.max(1));
        let now = self.now();
        if due > self.served { due.min(now) } else { now }
    }

    /// The timer is armed again, and the guest continues.
    pub(crate) fn resume(&mut self) {
        self.armed = self.now();
        if let Some(sample) = self.trace.samples.last_mut()
            && sample.cost == 0.0
        {
            sample.cost = self.armed - sample.us;
        }
    }

    /// `KVM_RUN` came back with this; interruptions are the sampler's own and not counted.
    pub(crate) fn exit(&mut self, exit: &std::result::Result<VcpuExit<'_>, kvm_ioctls::Error>) {
        let Some(kind) = Reason::of(exit) else {
            return;
        };
        self.served = self.now();
        let count = self.reasons.len();
        let reason = *self.reasons.entry(kind).or_insert(count);
        if reason == count {
            self.trace.counts.push(0);
        }
        self.trace.counts[reason] += 1;
        if self.trace.exits.len() < MAX_EXITS {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "microseconds since the start, and a clock does not go back before it"
            )]
            let us = self.served as u64;
            self.trace.exits.push(Exit { us, reason });
        }
    }

    /// The ready doorbell.
    pub(crate) fn ready(&mut self) {
        self.trace.ready = Some(self.now());
    }

    /// The payload's start.
    pub(crate) fn started(&mut self) {
        self.trace.started = Some(self.now());
    }

    /// The guest's end: reads what its memory holds, and returns everything except the run's report.
    #[must_use]
    pub(crate) fn finish(mut self, vcpu: &VcpuFd, memory: &GuestMemory) -> Trace {
        self.trace.ended = self.now();
        let scale = Scale {
            first: self.first,
            last: self.tick(vcpu),
        };
        let (stamps, lost) = stamps::read(memory, &self.symbols, scale);
        self.trace.stamps = stamps;
        self.trace.stamps_lost = lost;
        if let Ok(sregs) = vcpu.get_sregs() {
            self.trace.log = dmesg::read(memory, sregs.cr3, &self.symbols);
        }
        if let Some((file, _)) = &self.counters {
            self.trace.stats = file.read();
        }
        if probe::kind() != Kind::Software {
            // The counter is of emulated instructions: all of them on software KVM, a few anywhere else.
            for sample in &mut self.trace.samples {
                sample.instructions = 0;
            }
        }
        self.trace.callers = by_index(self.callers);
        self.trace.reasons = by_index(self.reasons)
            .into_iter()
            .map(Reason::name)
            .collect();
        self.trace
    }
}

/// Copies the stack from RSP up, as far as it is mapped; returns how many bytes that were.
fn copy_stack(memory: &GuestMemory, cr3: u64, sp: u64, into: &mut [u8; STACK]) -> usize {
    let left = to_usize(STACK_ALIGN - sp % STACK_ALIGN);
    let len = left.min(STACK);
    let mut done = 0;
    while done < len {
        let address = sp.wrapping_add(done as u64);
        let Ok((gpa, page)) = paging::translate(memory, cr3, address) else {
            break;
        };
        let now = page.min(len - done);
        if memory.read(gpa, &mut into[done..done + now]).is_err() {
            break;
        }
        done += now;
    }
    done
}

fn by_index<T>(map: HashMap<T, usize>) -> Vec<T> {
    let mut items: Vec<_> = map.into_iter().collect();
    items.sort_by_key(|item| item.1);
    items.into_iter().map(|item| item.0).collect()
}
