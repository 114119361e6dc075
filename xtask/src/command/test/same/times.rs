//! Compares how long operations take in both kernels. They run in the lab, where times repeat: first uses, for which a kernel
//! may postpone work, and loads that reach limits.

use anyhow::{Context as _, Result};

use super::difference::Difference;
use crate::command::test::check::Context;
use crate::command::test::guests::{Kernel, guest};

/// First uses, and how many lab microseconds longer than without the series each may take, on top of [`SLOWER`]. Uses that
/// would prepare each other run in separate guests. The contents of /proc/sys and /sys are made at the first look.
const FIRST: [(&str, f64); 4] = [
    ("random 100M", 5.0),
    ("socket", 10.0),
    ("sysctl", 100.0),
    ("sysfs", 50.0),
];

/// Memory for first uses: enough for the largest.
const MEMORY: &str = "256M";

/// How many times as long a first use may take.
const SLOWER: f64 = 1.05;

/// How many times as long a load may take. Pipes take 1.23 times as long with 4 GiB, for an unknown reason.
const LOAD_SLOWER: f64 = 1.25;

/// Memory for the loads.
pub(crate) const LOADED_MEMORY: &str = "4G";

/// The operations that are slower or fail.
pub(crate) fn differences(context: &Context<'_>) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for (doors, more) in FIRST {
        let test: Vec<&str> = ["first"].into_iter().chain(doors.split(' ')).collect();
        let [ours, theirs] = both(context, MEMORY, &test)?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let Line { name, figures } = ours;
            let (is, was) = (figures[0], theirs.figures[0]);
            if is > was * SLOWER + more {
                found.push(Difference {
                    path: format!("first/{name}"),
                    what: format!("{is} lab us instead of {was}"),
                });
            }
        }
    }
    let [ours, theirs] = both(context, LOADED_MEMORY, &["load"])?;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let Line { name, figures } = ours;
        let (wrong, is) = (figures[0], figures[1]);
        let (was_wrong, was) = (theirs.figures[0], theirs.figures[1]);
        if wrong != was_wrong || is > was * LOAD_SLOWER {
            found.push(Difference {
                path: format!("load/{name}"),
                what: format!(
                    "{is} lab us with {wrong} failures instead of {was} with {was_wrong}"
                ),
            });
        }
    }
    Ok(found)
}

fn both(context: &Context<'_>, memory: &str, test: &[&str]) -> Result<[Vec<Line>; 2]> {
    let of = |kernel| lines(&guest(context, kernel, &["--memory", memory], test)?);
    Ok([of(Kernel::Ours)?, of(Kernel::Unpatched)?])
}

/// A name and figures.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) figures: Vec<f64>,
}

/// The lines that `guest first` and `guest load` print.
pub(crate) fn lines(said: &str) -> Result<Vec<Line>> {
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next().context("a line of nothing")?.to_owned();
        let figures = words.map(str::parse).collect::<Result<_, _>>();
        let figures = figures.with_context(|| format!("reading {line:?}"))?;
        Ok(Line { name, figures })
    };
    said.lines().map(parse).collect()
}
