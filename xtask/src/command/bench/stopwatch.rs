//! Times alternating commands with the stopwatch program, on this machine or in the lab.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiffy::report::Kind;
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::base::cache::Cache;
use crate::base::files::read;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::stats::percentile;
use crate::base::ui::Ui;
use crate::guest::artefacts::BuildOptions;
use crate::guest::userland;
use crate::machine::lab::{self, Job};

/// The guest's memory in MiB: the default of the floor and of the runner.
pub(super) const MEMORY_MIB: u64 = 128;

/// Time limit for all runs. One takes milliseconds, but the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Runs a command with real-time priority. Without that, times on a busy machine are not repeatable.
const FIRST: [&str; 3] = ["chrt", "--fifo", "1"];

/// Whether this process may use real-time priority.
pub(crate) fn can_be_first() -> bool {
    let [chrt, how @ ..] = FIRST;
    let tried = Shell::new().map(|sh| {
        cmd!(sh, "{chrt} {how...} true")
            .quiet()
            .ignore_stderr()
            .run()
    });
    tried.is_ok_and(|ended| ended.is_ok())
}

/// A word of a command.
pub(super) enum Word {
    /// A word that is the same on every machine.
    Text(OsString),
    /// A file of this machine; in the lab it is /lab/NAME.
    File(&'static str, PathBuf),
}

impl Word {
    /// The word on the machine where the command runs.
    pub(super) fn there(&self, in_lab: bool) -> OsString {
        match self {
            Word::Text(text) => text.clone(),
            Word::File(name, _) if in_lab => format!("/lab/{name}").into(),
            Word::File(_, path) => path.into(),
        }
    }

    pub(super) fn text(text: impl Into<OsString>) -> Self {
        Word::Text(text.into())
    }

    pub(super) fn file(name: &'static str, path: PathBuf) -> Self {
        Word::File(name, path)
    }
}

/// The stopwatch kills a command that begins with this at its first byte.
pub(super) const END: &str = "--end";

/// What is timed.
pub(super) struct Race {
    /// How often each command runs.
    pub(super) runs: u32,
    /// Commands without `--` among their words.
    pub(super) commands: Vec<Vec<Word>>,
    /// Dynamically linked programs, which the lab needs with their libraries.
    pub(super) programs: Vec<PathBuf>,
    /// Other files for the lab, under /lab.
    pub(super) files: Vec<(&'static str, PathBuf)>,
}

/// Times the commands on this kind of KVM. Returns the stopwatch's output.
pub(super) fn run(
    layout: &Layout,
    ui: &Ui,
    options: &BuildOptions,
    kvm: Kind,
    race: Race,
) -> Result<String> {
    let in_lab = kvm == Kind::Lab;
    let mut arguments = vec![OsString::from(race.runs.to_string())];
    let mut files = race.files;
    for (number, command) in race.commands.into_iter().enumerate() {
        arguments.extend((number > 0).then(|| "--".into()));
        for word in command {
            arguments.push(word.there(in_lab));
            if let Word::File(name, path) = word {
                files.push((name, path));
            }
        }
    }
    let stopwatch = userland::stopwatch(layout)?;
    if !in_lab {
        let sh = Shell::new()?;
        let mut words: Vec<OsString> = vec![stopwatch.clone().into()];
        if can_be_first() {
            words.splice(0..0, FIRST.map(OsString::from));
        }
        words.extend(arguments);
        let (program, arguments) = words.split_first().context("nothing to run")?;
        let mut command: Command = cmd!(sh, "{program} {arguments...}").quiet().into();
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("running {}", stopwatch.display()))?;
        ensure!(output.status.success(), "the stopwatch failed");
        return String::from_utf8(output.stdout).context("reading the stopwatch");
    }
    install::ensure(ui, &[Need::Build, Need::Qemu], &[], options.install)?;
    files.sort();
    files.dedup();
    let job = Job {
        program: stopwatch,
        arguments,
        programs: race.programs,
        files: files
            .iter()
            .map(|(name, path)| Ok((format!("lab/{name}"), read(path)?)))
            .collect::<Result<_>>()?,
        devices: Vec::new(),
        memory_mib: MEMORY_MIB,
        timeout: TIMEOUT,
        stdout: Box::new(io::sink()),
    };
    lab::printed(layout, ui, &Cache::open()?, options, job)
}

/// A line of the stopwatch's output.
#[derive(Deserialize)]
struct Line {
    command: usize,
    first_us: Option<f64>,
    exit_us: f64,
    status: Option<i32>,
}

/// The median and the 90th percentile of a command's runs.
#[derive(Serialize)]
pub(super) struct Spread {
    pub(super) p50: f64,
    pub(super) p90: f64,
}

/// Times of one command in microseconds, and its greatest exit status, none if a signal ended every run.
pub(super) struct Runs {
    /// None if a run wrote no byte.
    pub(super) first_us: Option<Spread>,
    pub(super) exit_us: Spread,
    pub(super) status: Option<i32>,
}

/// Parses the stopwatch's output for this number of commands, each with this number of runs.
pub(super) fn parse(said: &str, commands: usize, runs: u32) -> Result<Vec<Runs>> {
    let lines = said
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading {line:?}")))
        .collect::<Result<Vec<Line>>>()?;
    let of_one = |number| {
        let its = || lines.iter().filter(move |line| line.command == number);
        ensure!(
            its().count() == runs as usize,
            "command {number} ran {} times instead of {runs}",
            its().count()
        );
        let firsts: Option<Vec<_>> = its().map(|line| line.first_us).collect();
        Ok(Runs {
            first_us: firsts.map(spread).transpose()?,
            exit_us: spread(its().map(|line| line.exit_us).collect())?,
            status: its().filter_map(|line| line.status).max(),
        })
    };
    (0..commands).map(of_one).collect()
}

fn spread(mut values: Vec<f64>) -> Result<Spread> {
    values.sort_by(f64::total_cmp);
    let of = |percent| percentile(&values, percent).context("nothing was timed");
    Ok(Spread {
        p50: of(50)?,
        p90: of(90)?,
    })
}

/// The unit of times on this kind of KVM.
pub(super) fn unit(kvm: Kind) -> &'static str {
    if kvm == Kind::Lab { "lab ms" } else { "ms" }
}

/// A cell of a table: the median, and the 90th percentile.
pub(super) fn shown(Spread { p50, p90 }: &Spread) -> String {
    format!("{:.2} ({:.2})", p50 / 1e3, p90 / 1e3)
}
