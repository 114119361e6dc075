//! Divides a run's time into phases that add up to the whole: at the kernel's own stamps or, for a kernel without them,
//! by the functions that samples show below `start_kernel`.

use jiffy::trace::raw::{Sample, Stamp, StampKind, Trace};
use serde::{Deserialize, Serialize};

use super::names::{Frame, Names};

/// From the first instruction to the first stamp.
const BEFORE: &str = "entry";
/// From the ready doorbell to the payload's start, or to the end.
const PID1: &str = "PID 1";
/// From the payload's start to the end.
const PAYLOAD: &str = "payload";

/// Functions whose callees are the phases of a kernel without stamps, innermost first: those of the booting thread, and
/// those of other threads.
const STEPS: [&str; 11] = [
    "do_one_initcall",
    "kernel_init_freeable",
    "kernel_init",
    "setup_arch",
    "start_kernel",
    "x86_64_start_kernel",
    "process_one_work",
    "worker_thread",
    "kthread",
    "ret_from_fork",
    "ret_from_fork_asm",
];

/// What divides a run into phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// The kernel's own time stamps.
    Stamps,
    /// The functions that were sampled.
    #[default]
    Samples,
}

impl Source {
    /// What a trace offers.
    pub(crate) fn of(trace: &Trace) -> Self {
        let mark = |stamp: &Stamp| stamp.kind == StampKind::Mark;
        if trace.stamps.iter().any(mark) {
            Self::Stamps
        } else {
            Self::Samples
        }
    }
}

/// A stretch of time, or several of one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Phase {
    /// What happened in it.
    pub(crate) name: String,
    /// Microseconds, without sampling.
    pub(crate) us: f64,
    /// Guest instructions.
    pub(crate) instructions: f64,
    /// VM exits by KVM's count, including those caused by sampling.
    pub(crate) exits: f64,
}

/// A called function and how long it took.
pub(crate) struct Call {
    /// Its address.
    pub(crate) address: u64,
    /// When it was called.
    pub(crate) start: f64,
    /// Microseconds, without sampling.
    pub(crate) us: f64,
}

/// Converts times that include sampling to times without it, and interpolates counters between samples.
pub(crate) struct Ruler<'a> {
    samples: &'a [Sample],
    /// The cost of all samples before each one.
    costs: Vec<f64>,
}

impl<'a> Ruler<'a> {
    /// For a run.
    pub(crate) fn new(samples: &'a [Sample]) -> Self {
        let mut sum = 0.0;
        let costs = samples
            .iter()
            .map(|sample| {
                let before = sum;
                sum += sample.cost;
                before
            })
            .collect();
        Ruler { samples, costs }
    }

    /// Microseconds that the guest had run at this time.
    pub(crate) fn ran(&self, us: f64) -> f64 {
        let after = self.samples.partition_point(|sample| sample.us <= us);
        match after.checked_sub(1) {
            None => us,
            Some(last) => {
                us - self.costs[last] - self.samples[last].cost.min(us - self.samples[last].us)
            }
        }
    }

    /// A counter's value at this time.
    fn count(&self, us: f64, value: impl Fn(&Sample) -> u64) -> f64 {
        let after = self.samples.partition_point(|sample| sample.us <= us);
        let at = |index: usize| {
            self.samples
                .get(index)
                .map(|sample| (sample.us, value(sample) as f64))
        };
        match (after.checked_sub(1).and_then(at), at(after)) {
            (Some((t0, v0)), Some((t1, v1))) => v0 + (v1 - v0) * (us - t0) / (t1 - t0).max(1e-9),
            (None, Some((t1, v1))) => v1 * us.max(0.0) / t1.max(1e-9),
            (Some((_, last)), None) => last,
            (None, None) => 0.0,
        }
    }

    fn phase(&self, name: &str, from: f64, to: f64) -> Phase {
        let instructions = |us| self.count(us, |sample| sample.instructions);
        let exits = |us| self.count(us, |sample| sample.exits);
        Phase {
            name: name.to_owned(),
            us: self.ran(to) - self.ran(from),
            instructions: instructions(to) - instructions(from),
            exits: exits(to) - exits(from),
        }
    }
}

/// The phases of a run, in order; their microseconds add up to [`Ruler::ran`] of its end.
pub(crate) fn of(trace: &Trace, names: &Names, ruler: &Ruler<'_>) -> Vec<Phase> {
    let kernel_end = trace.ready.unwrap_or(trace.ended);
    let mut phases = match Source::of(trace) {
        Source::Stamps => by_stamps(&trace.stamps, kernel_end, ruler),
        Source::Samples => by_samples(trace, kernel_end, names, ruler),
    };
    if let Some(ready) = trace.ready {
        let started = trace.started.unwrap_or(trace.ended);
        phases.push(ruler.phase(PID1, ready, started));
        if trace.started.is_some() {
            phases.push(ruler.phase(PAYLOAD, started, trace.ended));
        }
    }
    phases
}

fn by_stamps(stamps: &[Stamp], end: f64, ruler: &Ruler<'_>) -> Vec<Phase> {
    let mut marks: Vec<_> = stamps
        .iter()
        .filter(|stamp| stamp.kind == StampKind::Mark)
        .map(|stamp| (stamp.us.clamp(0.0, end), stamp.name.as_str()))
        .collect();
    marks.push((0.0, BEFORE));
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ends = marks.iter().skip(1).map(|mark| mark.0).chain([end]);
    marks
        .iter()
        .zip(ends)
        .map(|(mark, end)| ruler.phase(mark.1, mark.0, end))
        .collect()
}

/// The time up to each sample counts as that of the sample's phase.
fn by_samples(trace: &Trace, end: f64, names: &Names, ruler: &Ruler<'_>) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    let mut from = 0.0;
    let mut add = |phase: Phase| match phases.iter_mut().find(|known| known.name == phase.name) {
        Some(known) => {
            known.us += phase.us;
            known.instructions += phase.instructions;
            known.exits += phase.exits;
        }
        None => phases.push(phase),
    };
    let mut last = BEFORE.to_owned();
    for sample in trace.samples.iter().take_while(|sample| sample.us < end) {
        let chain = names.chain(trace, sample);
        if !interrupt(&chain) {
            last = step(&chain);
        }
        add(ruler.phase(&last, from, sample.us));
        from = sample.us;
    }
    add(ruler.phase(&last, from, end));
    phases
}

/// Whether a call chain, outermost first, is that of an interrupt. Interrupts have their own stack, so the phase that they
/// interrupt continues.
fn interrupt(chain: &[Frame]) -> bool {
    chain.first().is_some_and(|frame| {
        [
            "sysvec_",
            "common_interrupt",
            "handle_softirqs",
            "__do_softirq",
        ]
        .iter()
        .any(|name| frame.name.starts_with(name))
    })
}

/// The phase that a call chain, outermost first, belongs to.
fn step(chain: &[Frame]) -> String {
    let below = STEPS.iter().find_map(|step| {
        let at = chain.iter().rposition(|frame| frame.name == *step)?;
        Some(chain.get(at + 1).unwrap_or(&chain[at]))
    });
    below
        .or(chain.first())
        .map_or_else(|| BEFORE.to_owned(), |frame| frame.name.clone())
}

/// The calls that the kernel recorded: its initcalls.
pub(crate) fn calls(trace: &Trace, ruler: &Ruler<'_>) -> Vec<Call> {
    let mut open: Vec<(u64, f64)> = Vec::new();
    let mut calls = Vec::new();
    for stamp in &trace.stamps {
        match stamp.kind {
            StampKind::Mark => {}
            StampKind::Call => open.push((stamp.address, stamp.us)),
            StampKind::Return => {
                let Some(at) = open.iter().rposition(|call| call.0 == stamp.address) else {
                    continue;
                };
                let start = open[at].1;
                open.truncate(at);
                calls.push(Call {
                    address: stamp.address,
                    start,
                    us: ruler.ran(stamp.us) - ruler.ran(start),
                });
            }
        }
    }
    calls
}
