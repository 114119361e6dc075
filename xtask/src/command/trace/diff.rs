//! Compares two traces by function and by phase, considering the noise of both.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::analysis::Analysis;
use super::table::unit;

/// Lines of each list.
const TOP: usize = 20;

/// Differences below this many standard errors count as noise.
const SIGMAS: f64 = 2.0;

/// The time of a function or phase in one trace, and its uncertainty.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    us: f64,
    error: f64,
}

/// A difference.
#[derive(Debug)]
struct Change<'a> {
    name: &'a str,
    before: Time,
    after: Time,
}

impl Change<'_> {
    fn delta(&self) -> f64 {
        self.after.us - self.before.us
    }

    fn error(&self) -> f64 {
        self.after.error.hypot(self.before.error)
    }

    fn noise(&self) -> bool {
        self.delta().abs() <= SIGMAS * self.error()
    }
}

/// Renders the comparison.
pub(crate) fn render(before: &Analysis, after: &Analysis) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(before, after, &mut out);
    out
}

fn pages(analysis: &Analysis) -> String {
    analysis
        .pages_touched
        .map_or("unknown".to_owned(), |pages| pages.to_string())
}

fn write(before: &Analysis, after: &Analysis, out: &mut String) -> std::fmt::Result {
    let unit = unit(&after.clock);
    writeln!(
        out,
        "{:.3} -> {:.3} {unit} ({:+.3}); {} -> {} instructions; {} -> {} pages",
        before.total_us / 1e3,
        after.total_us / 1e3,
        (after.total_us - before.total_us) / 1e3,
        before.guest_instructions,
        after.guest_instructions,
        pages(before),
        pages(after)
    )?;
    if before.clock != after.clock {
        writeln!(
            out,
            "The clocks differ ({} and {}): these times do not compare.",
            before.clock, after.clock
        )?;
    }
    list(
        "function (self)",
        unit,
        changes(functions(before), functions(after)),
        out,
    )?;
    list("phase", unit, changes(phases(before), phases(after)), out)?;
    let calls = changes(initcalls(before), initcalls(after));
    if calls.is_empty() {
        return Ok(());
    }
    list("initcall", unit, calls, out)
}

fn list(what: &str, unit: &str, changes: Vec<Change<'_>>, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:>10} {:>8} {:>10} {:>10}  {what}, {unit}",
        "change", "+-", "before", "after"
    )?;
    let (noise, real): (Vec<_>, Vec<_>) = changes.into_iter().partition(Change::noise);
    let shown = real.len().min(TOP);
    for change in &real[..shown] {
        writeln!(
            out,
            "{:>+10.3} {:>8.3} {:>10.3} {:>10.3}  {}",
            change.delta() / 1e3,
            change.error() / 1e3,
            change.before.us / 1e3,
            change.after.us / 1e3,
            change.name
        )?;
    }
    let sum = |changes: &[Change<'_>]| changes.iter().map(Change::delta).sum::<f64>() / 1e3;
    if real.len() > shown {
        writeln!(
            out,
            "{:>+10.3} {:>30}  {} smaller changes",
            sum(&real[shown..]),
            "",
            real.len() - shown
        )?;
    }
    writeln!(
        out,
        "{:>+10.3} {:>30}  {} within the noise",
        sum(&noise),
        "",
        noise.len()
    )
}

/// What differs, by contribution.
fn changes<'a>(before: BTreeMap<&'a str, Time>, after: BTreeMap<&'a str, Time>) -> Vec<Change<'a>> {
    let mut both: BTreeMap<&str, (Time, Time)> = BTreeMap::new();
    for (name, time) in before {
        both.entry(name).or_default().0 = time;
    }
    for (name, time) in after {
        both.entry(name).or_default().1 = time;
    }
    let mut changes: Vec<_> = both
        .into_iter()
        .map(|(name, (before, after))| Change {
            name,
            before,
            after,
        })
        .collect();
    changes.sort_by(|a, b| b.delta().abs().total_cmp(&a.delta().abs()));
    changes
}

/// Samples are counted events, so the error of a count is its square root, and at least that of a single sample.
fn functions(analysis: &Analysis) -> BTreeMap<&str, Time> {
    let each = analysis.total_us / analysis.samples.total.max(1) as f64;
    let time = |count: u64| Time {
        us: count as f64 * each,
        error: (count.max(1) as f64).sqrt() * each,
    };
    let functions = analysis.functions.iter();
    functions
        .map(|function| (function.name.as_str(), time(function.own)))
        .collect()
}

fn initcalls(analysis: &Analysis) -> BTreeMap<&str, Time> {
    let calls = analysis.initcalls.iter();
    means(calls.map(|call| (&call.name, call.us, call.noise_us)))
}

fn phases(analysis: &Analysis) -> BTreeMap<&str, Time> {
    let phases = analysis.phases.iter();
    means(phases.map(|phase| (&phase.name, phase.us, phase.noise_us)))
}

/// Means of runs, with their noise.
fn means<'a>(parts: impl Iterator<Item = (&'a String, f64, f64)>) -> BTreeMap<&'a str, Time> {
    parts
        .map(|(name, us, error)| (name.as_str(), Time { us, error }))
        .collect()
}
