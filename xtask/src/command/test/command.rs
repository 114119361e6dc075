//! Runs a command as a user would, with a time limit.

use std::env;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use super::check::Context;

/// A command to run.
pub(crate) struct Run {
    args: Vec<OsString>,
    stdin: Vec<u8>,
    timeout: Duration,
}

/// How the command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Run {
    /// `cargo xtask ARGS`.
    pub(crate) fn xtask(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self> {
        let xtask = env::current_exe().context("finding our own program")?;
        let mut words = vec![xtask.into_os_string()];
        words.extend(args.into_iter().map(Into::into));
        Ok(Self {
            args: words,
            stdin: Vec::new(),
            timeout: Duration::from_secs(120),
        })
    }

    /// Another program.
    pub(crate) fn program(words: &[&str]) -> Self {
        Self {
            args: words.iter().map(Into::into).collect(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(120),
        }
    }

    /// Runs it through another program: these words come before it.
    pub(crate) fn through(mut self, words: &[&str]) -> Self {
        self.args = words.iter().map(Into::into).chain(self.args).collect();
        self
    }

    /// Sets its standard input, which is empty otherwise.
    pub(crate) fn stdin(mut self, input: &str) -> Self {
        self.stdin = input.into();
        self
    }

    /// Sets a time limit other than two minutes.
    pub(crate) fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// Runs it in the repository and waits. All its processes are killed when the time is up.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<Ran> {
        self.run_in(context.layout.root())
    }

    /// Runs it in another directory.
    pub(crate) fn run_in(self, dir: &Path) -> Result<Ran> {
        let began = Instant::now();
        let shown = self
            .args
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let (program, args) = self.args.split_first().context("nothing to run")?;
        let mut child = Command::new(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("running {shown}"))?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let input = self.stdin;
        // A program that does not read its input may end first; the checks decide whether that is wrong.
        thread::spawn(move || stdin.write_all(&input));
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let deadline = began + self.timeout;
        let in_time = |stream: &Receiver<_>| {
            stream.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        };
        let (out, err) = (in_time(&stdout), in_time(&stderr));
        let in_time = out.is_ok() && err.is_ok();
        if !in_time {
            end_group(&child)?;
        }
        let ran = Ran {
            status: child.wait().context("waiting")?.code(),
            stdout: text(out, &stdout),
            stderr: text(err, &stderr),
            took: began.elapsed(),
        };
        ensure!(
            in_time,
            "{shown} had not ended after {} s{}",
            self.timeout.as_secs(),
            ran.told()
        );
        Ok(ran)
    }
}

fn end_group(child: &Child) -> Result<()> {
    let group = format!("-{}", child.id());
    let sh = Shell::new()?;
    cmd!(sh, "kill -KILL -- {group}").quiet().run()?;
    Ok(())
}

/// Reads the command's output on a separate thread. It arrives in one piece, once every process has closed the stream.
fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, whole) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // The checks judge what was read before the error.
            let _ = stream.read_to_end(&mut bytes);
        }
        // Nobody receives it if a process that left the group kept the stream open past the limit.
        let _ = sender.send(bytes);
    });
    whole
}

/// The output that was read in time, or arrives soon after the processes were killed. Empty if a process that left the
/// group keeps the stream open.
fn text(in_time: Result<Vec<u8>, RecvTimeoutError>, stream: &Receiver<Vec<u8>>) -> String {
    let bytes = in_time.or_else(|_| stream.recv_timeout(Duration::from_secs(1)));
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

impl Ran {
    /// Checks the exit status.
    pub(crate) fn ended_with(&self, status: i32) -> Result<&Self> {
        ensure!(
            self.status == Some(status),
            "exit status {:?} instead of {status}{}",
            self.status,
            self.told()
        );
        Ok(self)
    }

    /// Checks stdout byte for byte.
    pub(crate) fn printed(&self, text: &str) -> Result<&Self> {
        ensure!(
            self.stdout == text,
            "stdout is {:?} instead of {text:?}{}",
            self.stdout,
            self.told()
        );
        Ok(self)
    }

    /// Checks that stderr contains a text.
    pub(crate) fn complained(&self, text: &str) -> Result<&Self> {
        ensure!(
            self.stderr.contains(text),
            "stderr has no {text:?}{}",
            self.told()
        );
        Ok(self)
    }

    /// Parses stdout as one JSON value.
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("stdout is not one JSON object{}", self.told()))
    }

    fn told(&self) -> String {
        format!(
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}
