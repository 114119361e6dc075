//! Running a command as a user would, with a time by which it must have ended.

use std::env;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::Context;

/// A command to run.
pub(crate) struct Run {
    args: Vec<OsString>,
    stdin: Vec<u8>,
    timeout: Duration,
}

/// What came of it.
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

    /// With this input instead of none.
    pub(crate) fn stdin(mut self, input: &str) -> Self {
        self.stdin = input.into();
        self
    }

    /// With another limit than two minutes.
    pub(crate) fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// Runs it in the repository and waits; all its processes are ended when the time is up.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<Ran> {
        self.run_in(context.layout.root())
    }

    /// The same in another directory.
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
        // A program that does not read its input ends before this does; that is for the checks to judge.
        thread::spawn(move || stdin.write_all(&input));
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let deadline = began + self.timeout;
        let (Some(stdout), Some(stderr)) = (until(&stdout, deadline), until(&stderr, deadline))
        else {
            end_group(&mut child)?;
            bail!("{shown} had not ended after {} s", self.timeout.as_secs());
        };
        let status = child.wait().context("waiting")?.code();
        Ok(Ran {
            status,
            stdout,
            stderr,
            took: began.elapsed(),
        })
    }
}

fn end_group(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    let sh = Shell::new()?;
    cmd!(sh, "kill -KILL -- {group}").quiet().run()?;
    child.wait().context("waiting")?;
    Ok(())
}

fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before an error is what there is to judge.
            let _ = stream.read_to_end(&mut bytes);
        }
        sender.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    receiver
}

fn until(receiver: &Receiver<String>, deadline: Instant) -> Option<String> {
    let left = deadline.saturating_duration_since(Instant::now());
    receiver.recv_timeout(left).ok()
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

    /// Checks what was printed on stdout, to the byte.
    pub(crate) fn printed(&self, text: &str) -> Result<&Self> {
        ensure!(
            self.stdout == text,
            "stdout is {:?} instead of {text:?}{}",
            self.stdout,
            self.told()
        );
        Ok(self)
    }

    /// Checks for a text on stderr.
    pub(crate) fn complained(&self, text: &str) -> Result<&Self> {
        ensure!(
            self.stderr.contains(text),
            "stderr has no {text:?}{}",
            self.told()
        );
        Ok(self)
    }

    /// Stdout as one JSON value.
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
