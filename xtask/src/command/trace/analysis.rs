//! Summarises several runs of one kernel into the object that `--format json` prints.

use std::collections::{BTreeMap, HashSet};

use jiffy::report::Kind;
use jiffy::trace::raw::{How, StampKind, Trace};
use serde::{Deserialize, Serialize};

use super::names::Names;
use super::phases::{self, Ruler};
use crate::base::stats::whole;

/// A summary of traces. Times and counts are means per run; samples are totals of all runs.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Analysis {
    /// Always 1.
    pub(crate) schema: u32,
    /// `tsc`, `lab` or `emulated`.
    pub(crate) clock: String,
    /// How the first run ended.
    pub(crate) outcome: String,
    /// Why it failed, if it did.
    #[serde(default)]
    pub(crate) diagnosis: Vec<String>,
    /// Number of runs.
    pub(crate) runs: usize,
    /// From the first instruction to the guest's end, without sampling.
    pub(crate) total_us: f64,
    /// 0 if nothing counts them.
    pub(crate) guest_instructions: u64,
    /// The samples.
    pub(crate) samples: Samples,
    /// Time of samples whose function has no name.
    pub(crate) unattributed_us: f64,
    /// Where the phases come from: `stamps` or `samples`.
    pub(crate) phases_by: String,
    /// In order of time; they add up to `total_us`.
    pub(crate) phases: Vec<PhaseSum>,
    /// The longest first.
    pub(crate) initcalls: Vec<Initcall>,
    /// Those with most samples of their own first.
    pub(crate) functions: Vec<Function>,
    /// Exits to the runner, and KVM's counters of exits that it handles itself.
    pub(crate) exits: Vec<ExitCount>,
    /// Pages of guest memory touched; none where the host's kernel does not count them.
    pub(crate) pages_touched: Option<u64>,
}

/// How much was sampled.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Samples {
    /// Of all runs.
    pub(crate) total: u64,
    /// Whose function has a name.
    pub(crate) attributed: u64,
    /// Asked for.
    pub(crate) hz: u32,
    /// How the call chains were found, and how many of them.
    pub(crate) unwound: BTreeMap<How, u64>,
    /// Microseconds of a run spent on sampling, which `total_us` does not include.
    pub(crate) overhead_us: f64,
}

/// A phase of the boot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseSum {
    /// What happened in it.
    pub(crate) name: String,
    /// Mean of the runs.
    pub(crate) us: f64,
    /// Its standard error over the runs; for a single run, an estimate from its samples.
    #[serde(default)]
    pub(crate) noise_us: f64,
    /// Guest instructions.
    pub(crate) instructions: u64,
    /// VM exits by KVM's count.
    #[serde(default)]
    pub(crate) exits: u64,
}

/// An initcall.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Initcall {
    /// Its function.
    pub(crate) name: String,
    /// Mean of the runs.
    pub(crate) us: f64,
    /// As of a phase.
    #[serde(default)]
    pub(crate) noise_us: f64,
}

/// A function.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Function {
    /// Its name, or its address.
    pub(crate) name: String,
    /// Samples in it.
    #[serde(rename = "self")]
    pub(crate) own: u64,
    /// Samples in it and in what it called.
    pub(crate) inclusive: u64,
    /// Instructions of its own in a run.
    #[serde(default)]
    pub(crate) instructions: u64,
}

/// Exits of one kind.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExitCount {
    /// Why.
    pub(crate) reason: String,
    /// How often in a run.
    pub(crate) count: u64,
}

impl Analysis {
    /// Summarises runs of one kernel, at least one.
    pub(crate) fn of(traces: &[Trace], names: &Names) -> Self {
        let first = &traces[0];
        let runs = traces.len();
        let mut analysis = Analysis {
            schema: 1,
            clock: clock(first.report.kvm.kind).to_owned(),
            outcome: serde_json::to_value(first.report.outcome)
                .ok()
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default(),
            diagnosis: first.report.diagnosis.clone(),
            runs,
            guest_instructions: whole(mean(traces, |trace| trace.report.guest_instructions as f64)),
            pages_touched: first.report.pages_touched.map(|_| {
                whole(mean(traces, |trace| {
                    trace.report.pages_touched.unwrap_or(0) as f64
                }))
            }),
            phases_by: phases_by(first).to_owned(),
            exits: exits(traces),
            ..Analysis::default()
        };
        analysis.samples.hz = first.hz;
        analysis.samples.overhead_us = mean(traces, |trace| {
            trace.samples.iter().map(|sample| sample.cost).sum()
        });
        for trace in traces {
            let ruler = Ruler::new(&trace.samples);
            analysis.total_us += ruler.ran(trace.ended) / runs as f64;
        }
        analysis.add_phases(traces, names);
        analysis.add_functions(traces, names);
        analysis
    }

    fn add_phases(&mut self, traces: &[Trace], names: &Names) {
        let runs = traces.len() as f64;
        let mut order: Vec<String> = Vec::new();
        let mut sums: BTreeMap<String, (Vec<f64>, f64, f64)> = BTreeMap::new();
        let mut calls: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for trace in traces {
            let ruler = Ruler::new(&trace.samples);
            let mut seen: BTreeMap<String, f64> = BTreeMap::new();
            for phase in phases::of(trace, names, &ruler) {
                if !order.contains(&phase.name) {
                    order.push(phase.name.clone());
                }
                *seen.entry(phase.name.clone()).or_default() += phase.us;
                let sum = sums.entry(phase.name).or_default();
                sum.1 += phase.instructions;
                sum.2 += phase.exits;
            }
            for (name, us) in seen {
                sums.entry(name).or_default().0.push(us);
            }
            for call in phases::calls(trace, &ruler) {
                calls.entry(call.address).or_default().push(call.us);
            }
        }
        let period = 1e6 / f64::from(self.samples.hz.max(1));
        self.phases = order
            .into_iter()
            .map(|name| {
                let (us, instructions, exits) = sums.remove(&name).unwrap_or_default();
                PhaseSum {
                    us: us.iter().sum::<f64>() / runs,
                    noise_us: noise(&us, traces.len(), period, self.phases_by == "stamps"),
                    instructions: whole(instructions / runs),
                    exits: whole(exits / runs),
                    name,
                }
            })
            .collect();
        self.initcalls = calls
            .into_iter()
            .map(|(address, us)| Initcall {
                name: names.kernel(address).name,
                us: us.iter().sum::<f64>() / runs,
                noise_us: noise(&us, traces.len(), 0.0, true),
            })
            .collect();
        self.initcalls.sort_by(|a, b| b.us.total_cmp(&a.us));
    }

    fn add_functions(&mut self, traces: &[Trace], names: &Names) {
        let mut functions: BTreeMap<String, Function> = BTreeMap::new();
        let mut unnamed = 0;
        for trace in traces {
            let mut before = 0;
            for sample in &trace.samples {
                let chain = names.chain(trace, sample);
                self.samples.total += 1;
                *self.samples.unwound.entry(sample.how).or_default() += 1;
                let mut seen = HashSet::new();
                for frame in &chain {
                    if seen.insert(&frame.name) {
                        functions.entry(frame.name.clone()).or_default().inclusive += 1;
                    }
                }
                let Some(own) = chain.last() else { continue };
                unnamed += u64::from(!own.named);
                let function = functions.entry(own.name.clone()).or_default();
                function.own += 1;
                function.instructions += sample.instructions.saturating_sub(before);
                before = sample.instructions;
            }
        }
        self.samples.attributed = self.samples.total - unnamed;
        self.unattributed_us = self.total_us * unnamed as f64 / self.samples.total.max(1) as f64;
        let runs = traces.len() as u64;
        self.functions = functions
            .into_iter()
            .map(|(name, function)| Function {
                name,
                instructions: function.instructions / runs,
                ..function
            })
            .collect();
        self.functions
            .sort_by_key(|function| std::cmp::Reverse((function.own, function.inclusive)));
    }
}

/// The uncertainty of a phase's time: the standard error of several runs; for a single run, a sampling period at each
/// end, unless the kernel's stamps give its exact time.
fn noise(us: &[f64], runs: usize, period: f64, stamps: bool) -> f64 {
    if runs < 2 {
        return if stamps { 0.0 } else { period };
    }
    let mean = us.iter().sum::<f64>() / runs as f64;
    // A run without the phase had 0 of it.
    let missing = (runs - us.len()) as f64 * mean * mean;
    let squares: f64 = us.iter().map(|us| (us - mean).powi(2)).sum::<f64>() + missing;
    (squares / (runs - 1) as f64 / runs as f64).sqrt()
}

fn clock(kind: Kind) -> &'static str {
    match kind {
        Kind::Hardware => "tsc",
        Kind::Lab => "lab",
        Kind::Software => "emulated",
    }
}

fn phases_by(trace: &Trace) -> &'static str {
    if trace
        .stamps
        .iter()
        .any(|stamp| stamp.kind == StampKind::Mark)
    {
        "stamps"
    } else {
        "samples"
    }
}

fn mean(traces: &[Trace], value: impl Fn(&Trace) -> f64) -> f64 {
    traces.iter().map(value).sum::<f64>() / traces.len().max(1) as f64
}

fn exits(traces: &[Trace]) -> Vec<ExitCount> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for trace in traces {
        for (reason, count) in trace.reasons.iter().zip(&trace.counts) {
            *counts.entry(reason.clone()).or_default() += count;
        }
        // Exits that KVM handles itself; `signal_exits` are caused by sampling.
        for (name, count) in &trace.stats {
            let kernel = name.ends_with("_exits") || name == "exits" || name == "pf_taken";
            if kernel && *count > 0 {
                *counts.entry(format!("kvm: {name}")).or_default() += count;
            }
        }
    }
    let runs = traces.len() as u64;
    let mut exits: Vec<_> = counts
        .into_iter()
        .map(|(reason, count)| ExitCount {
            reason,
            count: count.div_ceil(runs),
        })
        .collect();
    exits.sort_by_key(|exit| std::cmp::Reverse(exit.count));
    exits
}
