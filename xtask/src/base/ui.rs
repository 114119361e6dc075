//! Progress of long work: a bar on a terminal, plain lines elsewhere, and how long each step took.
//! Everything goes to stderr; stdout belongs to results.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Without a terminal, progress is reported each time another 25 % are done.
const PLAIN_PERCENT: u64 = 25;

/// Prints a line of a result on stdout. A closed pipe is no error; a full disk is.
pub(crate) fn print(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}

/// Prints a report: as one JSON object, or as text for a person.
pub(crate) fn show<R: Serialize>(report: &R, json: bool, text: fn(&R) -> String) -> Result<()> {
    print(&if json {
        serde_json::to_string(report)?
    } else {
        text(report)
    })
}

/// Prints a line for a person on stderr. If that fails, there is nowhere left to report it.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "jiffy: {line}");
}

/// A finished step and its duration, for the summary after a boot.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) time: Duration,
}

/// Where progress goes, and the steps done so far.
pub(crate) struct Ui {
    quiet: bool,
    taken: RefCell<Vec<Taken>>,
}

impl Ui {
    /// `quiet` says nothing but errors.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            taken: RefCell::default(),
        }
    }

    /// One line for a person.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            complain(line);
        }
    }

    /// Begins a step of `expected` parts, 0 if that is not known. [`Step::done`] reports how long it took.
    pub(crate) fn step(&self, name: impl Into<String>, expected: u64) -> Step<'_> {
        let name = name.into();
        let terminal = io::stderr().is_terminal() && !self.quiet;
        let bar = ProgressBar::with_draw_target(
            Some(expected),
            if terminal {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        bar.set_style(style(expected));
        bar.set_message(name.clone());
        if terminal {
            bar.enable_steady_tick(Duration::from_millis(100));
        } else if expected > 0 {
            self.say(&format!("{name} (about {expected})"));
        } else {
            self.say(&name);
        }
        Step {
            ui: self,
            name,
            bar,
            terminal,
            expected,
            done: 0,
            said: 0,
            began: Instant::now(),
        }
    }

    /// The steps that did work, in order.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.borrow().clone()
    }
}

fn style(expected: u64) -> ProgressStyle {
    let template = if expected > 0 {
        "jiffy: {msg} [{bar:30}] {pos}/{len} {elapsed}"
    } else {
        "jiffy: {msg} {spinner} {elapsed}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Work in progress. If it is dropped without [`Step::done`], after an error, its bar disappears silently.
pub(crate) struct Step<'a> {
    ui: &'a Ui,
    name: String,
    bar: ProgressBar,
    terminal: bool,
    expected: u64,
    done: u64,
    said: u64,
    began: Instant,
}

impl Step<'_> {
    /// One part more is done.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        if self.done > self.expected && self.expected > 0 {
            self.bar.set_length(self.done);
        }
        self.bar.inc(1);
        if self.terminal || self.expected == 0 {
            return;
        }
        let percent = self.done * 100 / self.expected;
        if percent >= self.said + PLAIN_PERCENT && percent < 100 {
            self.said = percent - percent % PLAIN_PERCENT;
            self.ui.say(&format!("{}: {} % done", self.name, self.said));
        }
    }

    /// How many parts were done.
    pub(crate) fn count(&self) -> u64 {
        self.done
    }

    /// Finishes the step and reports its time.
    pub(crate) fn done(self) {
        let time = self.began.elapsed();
        self.bar.finish_and_clear();
        self.ui
            .say(&format!("{}: {:.1} s", self.name, time.as_secs_f64()));
        self.ui.taken.borrow_mut().push(Taken {
            name: self.name.clone(),
            time,
        });
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
