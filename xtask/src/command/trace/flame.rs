//! Draws a flame graph: a function's width is the time of the samples in it, with callers below.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use inferno::flamegraph::{self, Options};
use jiffy::trace::raw::Trace;

use super::analysis::Analysis;
use super::names::Names;

/// Frames narrower than this, in per cent of the whole, are left out; they would be about a pixel.
const MIN_WIDTH: f64 = 0.1;

/// Renders the SVG.
pub(crate) fn render(traces: &[Trace], names: &Names, analysis: &Analysis) -> Result<String> {
    let stacks = folded(traces, names);
    let lines: Vec<_> = stacks
        .iter()
        .map(|(stack, count)| format!("{stack} {count}"))
        .collect();
    let mut options = Options::default();
    options.title = format!(
        "Boot: {:.2} {}, {} samples of {} run(s)",
        analysis.total_us / 1e3,
        analysis.clock.unit(),
        analysis.samples.total,
        analysis.runs
    );
    options.count_name = "samples".to_owned();
    options.min_width = MIN_WIDTH;
    // So that the same samples give the same file.
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .context("drawing the flame graph")?;
    String::from_utf8(svg).context("the flame graph is no text")
}

/// Call chains, outermost first, separated by `;`, and their number of samples.
fn folded(traces: &[Trace], names: &Names) -> BTreeMap<String, u64> {
    let mut stacks = BTreeMap::new();
    for trace in traces {
        for sample in &trace.samples {
            let chain = names.functions(trace, sample);
            *stacks.entry(chain.join(";")).or_default() += 1;
        }
    }
    stacks
}
