//! Compares the runner with the floor, a minimal C program: from fork to a guest's first byte, and to the exit.
//!
//! Both run the same guest, which writes a byte and ends, with 128 MiB. They take turns.

use anyhow::{Context, Result, bail, ensure};
use jiffy::report::Kind;
use serde::Serialize;

use super::options::{BenchOptions, kvm};
use super::stopwatch::{self, MEMORY_MIB, Race, Runs, Spread, Word, shown};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, show};
use crate::guest::userland;

/// The commands in the stopwatch's order.
const NAMES: [&str; 2] = ["floor", "jiffy"];

/// Times of one command in microseconds.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    first_us: Spread,
    exit_us: Spread,
}

/// The result.
#[derive(Serialize)]
struct Report {
    schema: u32,
    suite: &'static str,
    kvm: Kind,
    memory_mib: u64,
    runs: u32,
    rows: Vec<Row>,
    /// The runner's medians, divided by the floor's.
    ratio: Ratio,
}

#[derive(Serialize)]
struct Ratio {
    first: f64,
    exit: f64,
}

/// Measures and prints.
pub(super) fn run(layout: &Layout, options: &BenchOptions) -> Result<()> {
    let ui = Ui::new(options.build.quiet);
    let runner = ["run", "--quiet", "--ready-fd", "1", "--kernel"].map(Word::text);
    let race = Race {
        runs: options.runs(),
        commands: vec![
            vec![Word::file("floor", userland::floor(layout)?)],
            [Word::file("jiffy", userland::runner(layout)?)]
                .into_iter()
                .chain(runner)
                .chain([Word::file("vmlinux", userland::flat(layout)?)])
                .collect(),
        ],
        programs: Vec::new(),
        files: Vec::new(),
    };
    let kvm = kvm(layout, options)?;
    let said = stopwatch::run(layout, &ui, &options.build, kvm, race)?;
    let report = report(&said, kvm, options.runs())?;
    show(&report, options.build.json, table)
}

fn report(said: &str, kvm: Kind, runs: u32) -> Result<Report> {
    let rows = NAMES.iter().zip(stopwatch::parse(said, NAMES.len(), runs)?);
    let rows = rows.map(|(name, runs): (_, Runs)| {
        ensure!(
            runs.status == Some(0),
            "{name} ended with {:?}",
            runs.status
        );
        Ok(Row {
            name,
            first_us: runs
                .first_us
                .with_context(|| format!("{name} wrote no byte"))?,
            exit_us: runs.exit_us,
        })
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let [floor, ours] = &rows[..] else {
        bail!("the stopwatch timed {} commands", rows.len());
    };
    let ratio = Ratio {
        first: ours.first_us.p50 / floor.first_us.p50,
        exit: ours.exit_us.p50 / floor.exit_us.p50,
    };
    Ok(Report {
        schema: 1,
        suite: "floor",
        kvm,
        memory_mib: MEMORY_MIB,
        runs,
        rows,
        ratio,
    })
}

fn table(report: &Report) -> String {
    let unit = stopwatch::unit(report.kvm);
    let mut lines = vec![
        format!(
            "| flat guest, {} MiB, {} KVM, median (90th percentile) of {}, {unit} | fork to first byte | fork to exit |",
            report.memory_mib,
            report.kvm.name(),
            report.runs
        ),
        "|---|---|---|".to_owned(),
    ];
    lines.extend(report.rows.iter().map(|row| {
        let (first, exit) = (shown(&row.first_us), shown(&row.exit_us));
        format!("| {} | {first} | {exit} |", row.name)
    }));
    let Ratio { first, exit } = report.ratio;
    lines.push(format!("| ratio of medians | {first:.2} | {exit:.2} |"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn runs_become_a_table() {
        let said = r#"{"command":0,"first_us":400,"exit_us":800,"status":0}
{"command":1,"first_us":480,"exit_us":1000,"status":0}
{"command":0,"first_us":600,"exit_us":900,"status":0}
{"command":1,"first_us":720.5,"exit_us":1200,"status":0}
"#;
        let report = report(said, Kind::Lab, 2).unwrap();
        expect![[r#"
            | flat guest, 128 MiB, lab KVM, median (90th percentile) of 2, lab ms | fork to first byte | fork to exit |
            |---|---|---|
            | floor | 0.40 (0.60) | 0.80 (0.90) |
            | jiffy | 0.48 (0.72) | 1.00 (1.20) |
            | ratio of medians | 1.20 | 1.25 |"#]]
        .assert_eq(&table(&report));
    }

    #[test]
    fn a_missing_run_is_an_error() {
        let said = r#"{"command":0,"first_us":400,"exit_us":800,"status":0}"#;
        assert!(report(said, Kind::Lab, 1).is_err());
        for jiffy in [
            r#""first_us":1,"exit_us":2,"status":125"#,
            r#""first_us":null,"exit_us":2,"status":0"#,
        ] {
            let failed = format!("{said}\n{{\"command\":1,{jiffy}}}");
            assert!(report(&failed, Kind::Lab, 1).is_err());
        }
        assert!(report("nonsense", Kind::Lab, 1).is_err());
    }
}
