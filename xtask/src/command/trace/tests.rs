//! A made-up run, explained.

use expect_test::expect;
use jiffy::trace::raw::{How, SCHEMA, Sample, Stamp, StampKind, Trace};

use super::analysis::Analysis;
use super::names::Names;
use super::phases::{self, Ruler};
use super::{diff, flame, perfetto, pie, table};

/// A run of 1000 us, 100 of them the sampler's, with `slow` of nine samples in the function at 0x20.
fn run(slow: usize) -> Trace {
    let sample = |n: usize| Sample {
        us: 100.0 * (n + 1) as f64,
        cost: 10.0,
        ip: if n < slow { 0x20 } else { 0x30 },
        callers: 0,
        how: How::Scan,
        instructions: 1000 * (n + 1) as u64,
        ..Sample::default()
    };
    let stamp = |us: f64, kind, name: &str| Stamp {
        us,
        kind,
        name: name.to_owned(),
        address: if name.is_empty() { 0x20 } else { 0 },
        value: 0,
    };
    Trace {
        schema: SCHEMA,
        hz: 10_000,
        ready: Some(800.0),
        ended: 1000.0,
        samples: (0..9).map(sample).collect(),
        callers: vec![vec![0x11]],
        stamps: vec![
            stamp(50.0, StampKind::Mark, "setup_arch"),
            stamp(500.0, StampKind::Mark, "do_initcalls"),
            stamp(600.0, StampKind::Call, ""),
            stamp(700.0, StampKind::Return, ""),
        ],
        ..Trace::default()
    }
}

#[test]
fn phases_add_up_to_the_whole_without_the_sampler() {
    for stamped in [true, false] {
        let mut trace = run(4);
        if !stamped {
            trace.stamps.clear();
        }
        let ruler = Ruler::new(&trace.samples);
        let phases = phases::of(&trace, &Names::default(), &ruler);
        let sum: f64 = phases.iter().map(|phase| phase.us).sum();
        assert!((sum - 910.0).abs() < 1e-6, "{sum} of {phases:?}");
        assert!((ruler.ran(1000.0) - 910.0).abs() < 1e-6);
    }
}

#[test]
fn a_sampler_is_left_out_of_an_initcall() {
    let trace = run(4);
    let ruler = Ruler::new(&trace.samples);
    let calls = phases::calls(&trace, &ruler);
    assert_eq!(calls.len(), 1);
    assert!((calls[0].us - 90.0).abs() < 1e-6, "{}", calls[0].us);
}

#[test]
fn the_table_shows_it_all() {
    let analysis = Analysis::of(&[run(4), run(4)], &Names::default());
    expect![[r#"
        ready: 0.91 ms from the first instruction to the end, 2 run(s)
        18 samples at 10000 Hz, 0.0 % in named functions; sampling took another 0.09 ms (9.9 %), not counted here
        Callers were found by scanning the stack: this kernel keeps neither frame pointers nor ORC tables.

                ms      % instructions    exits  phase (by the kernel's stamps)
             0.050    5.5          500        0  entry
             0.410   45.1         4500        0  setup_arch
             0.270   29.7         3000        0  do_initcalls
             0.180   19.8         1000        0  PID 1
             0.910  100.0                        of these unattributed: in code without a name

                ms  initcall
             0.090  0x20

         self % incl. % instructions  function
          55.56   55.56         5000  0x30
          44.44   44.44         4000  0x20
           0.00  100.00            -  0x10

               count  exit

        This kernel does not count the pages that a guest touches.
    "#]].assert_eq(&table::render(&analysis));
}

#[test]
fn a_difference_names_what_grew_and_calls_chance_noise() {
    let before = Analysis::of(&[run(1)], &Names::default());
    let after = Analysis::of(&vec![run(8); 5], &Names::default());
    let text = diff::render(&before, &after);
    let first = text.lines().nth(3).unwrap();
    assert!(
        first.starts_with('+') || first.trim_start().starts_with('+'),
        "{text}"
    );
    assert!(first.ends_with("0x20"), "{text}");
    let same = diff::render(&before, &before);
    assert!(
        same.contains("+0.000                                 3 within the noise"),
        "{same}"
    );
}

#[test]
fn a_result_reads_back_as_it_was_written() {
    let analysis = Analysis::of(&[run(3)], &Names::default());
    let text = serde_json::to_string(&analysis).unwrap();
    let back: Analysis = serde_json::from_str(&text).unwrap();
    assert_eq!(back.functions, analysis.functions);
    assert_eq!(back.samples, analysis.samples);
}

#[test]
fn pictures_are_drawn() {
    let (trace, names) = (run(4), Names::default());
    let analysis = Analysis::of(std::slice::from_ref(&trace), &names);
    let svg = flame::render(std::slice::from_ref(&trace), &names, &analysis).unwrap();
    assert!(svg.contains("0x20 (4 samples"), "{svg}");
    let events: serde_json::Value =
        serde_json::from_str(&perfetto::render(&trace, &names)).unwrap();
    let named = |name: &str| {
        events["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| event["name"] == name)
    };
    assert!(named("setup_arch") && named("PID 1"), "{events}");
    let slices = pie::render(&jiffy::report::Microseconds {
        kernel: 3000.0,
        load: 1000.0,
        ..Default::default()
    });
    assert!(slices.contains("boot: 3.00 ms (75.0 %)"), "{slices}");
}
