//! A time line in the Trace Event Format (Chrome's JSON), which Perfetto reads: phases, initcalls, exits, samples.

use jiffy::trace::raw::{StampKind, Trace};
use serde_json::{Value, json};

use super::names::Names;
use super::phases::{self, Ruler};

/// Rows of the time line.
const PHASES: u32 = 1;
const INITCALLS: u32 = 2;
const EXITS: u32 = 3;
const SAMPLES: u32 = 4;

/// Renders one run. Its times include sampling.
pub(crate) fn render(trace: &Trace, names: &Names) -> String {
    let mut events: Vec<Value> = [(PHASES, "phases"), (INITCALLS, "initcalls"), (EXITS, "exits"), (SAMPLES, "samples")]
        .iter()
        .map(|(row, name)| json!({"ph": "M", "pid": 1, "tid": row, "name": "thread_name", "args": {"name": name}}))
        .collect();
    let span = |row: u32, name: &str, from: f64, us: f64| json!({"ph": "X", "pid": 1, "tid": row, "name": name, "ts": from, "dur": us});
    let mut marks: Vec<_> = trace
        .stamps
        .iter()
        .filter(|stamp| stamp.kind == StampKind::Mark)
        .map(|stamp| (stamp.us, stamp.name.as_str()))
        .chain([(0.0, "entry")])
        .chain(trace.ready.map(|us| (us, "PID 1")))
        .chain(trace.started.map(|us| (us, "payload")))
        .collect();
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ends = marks.iter().skip(1).map(|mark| mark.0).chain([trace.ended]);
    events.extend(
        marks
            .iter()
            .zip(ends)
            .map(|(mark, end)| span(PHASES, mark.1, mark.0, end - mark.0)),
    );
    let ruler = Ruler::new(&trace.samples);
    for call in phases::calls(trace, &ruler) {
        events.push(span(
            INITCALLS,
            &names.kernel(call.address).name,
            call.start,
            call.us,
        ));
    }
    for exit in &trace.exits {
        let reason = trace.reasons.get(exit.reason).map_or("", String::as_str);
        events.push(
            json!({"ph": "i", "s": "t", "pid": 1, "tid": EXITS, "name": reason, "ts": exit.us}),
        );
    }
    for sample in &trace.samples {
        let chain = names.functions(trace, sample);
        let name = chain.last().map_or("", String::as_str);
        events.push(
            json!({"ph": "i", "s": "t", "pid": 1, "tid": SAMPLES, "name": name, "ts": sample.us,
            "args": {"callers": chain.join(" > "), "instructions": sample.instructions}}),
        );
    }
    json!({"traceEvents": events, "displayTimeUnit": "ms"}).to_string()
}
