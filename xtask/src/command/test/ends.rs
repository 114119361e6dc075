//! Guests that do not want to end (ci/hostile): the timeout, the guest's own end and signals end them all the same, whatever
//! devices and readers of the output do, and the runner keeps no more memory than it says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use xshell::{Shell, cmd};

use super::check::{Check, Context};
use crate::base::files::make_dir;
use crate::guest::userland;

/// How long a machine may go on after its end was asked for. The promise is 100 ms; the rest is for the start of the process,
/// and for a host that does something else as well.
const GRACE: Duration = Duration::from_millis(400);

/// The timeout that most rows give.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How much the runner may keep for a machine beyond its guest's memory.
const MEMORY_KIB: u64 = 5 << 10;

/// The status of a machine whose time is over, and of one that a signal ended.
const TIMED_OUT: i32 = 124;
const INTERRUPTED: i32 = 130;

/// What a row does on its bench.
type Row = fn(&Bench<'_>) -> Result<()>;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    let rows: [(&str, Row); 10] = [
        ("a disk that reads for ever", |bench| {
            bench.times_out("disk", &["--disk", &bench.sparse()?])
        }),
        ("EXIT while the disk reads", |bench| {
            bench.exits("disk_exit", &["--disk", &bench.sparse()?])
        }),
        ("a reset while the disk reads", |bench| {
            bench.exits("disk_reset", &["--disk", &bench.sparse()?])
        }),
        ("EXIT while the balloon is told of memory", |bench| {
            bench.exits("balloon", &["--balloon", "--memory", "1G"])
        }),
        ("output that nobody reads", |bench| {
            bench.times_out("output", &[])
        }),
        ("output of a fleet that nobody reads", |bench| bench.fleet()),
        ("a console that nobody reads", |bench| {
            bench.exits("console", &["--console"])
        }),
        ("input that does not come", |bench| bench.input()),
        ("signals", |bench| bench.signals()),
        ("a driver that starts its device for ever", |bench| {
            bench.toggle()
        }),
    ];
    rows.map(|(name, test)| {
        let run = move |context: &Context<'_>| test(&Bench::new(context)?);
        Check::new(format!("host/ends/{name}"), run).on_kvm()
    })
    .into()
}

/// Where the guests are, and files of a row.
struct Bench<'a> {
    context: &'a Context<'a>,
    dir: TempDir,
    runner: PathBuf,
}

/// A runner, and the end of its output pipe that nobody reads.
struct Running {
    child: Child,
    began: Instant,
}

impl<'a> Bench<'a> {
    fn new(context: &'a Context<'a>) -> Result<Self> {
        Ok(Self {
            context,
            dir: tempfile::tempdir()?,
            runner: userland::runner(context.layout)?,
        })
    }

    /// A disk of 64 GiB that takes no room.
    fn sparse(&self) -> Result<String> {
        let path = self.dir.path().join("disk");
        File::create(&path)?.set_len(64 << 30)?;
        Ok(path.display().to_string())
    }

    /// Starts a guest. Its standard output is a pipe that nobody reads, its input one that nobody writes to.
    fn start(&self, guest: &str, timeout: Duration, more: &[&str]) -> Result<Running> {
        let kernel = build(self.context, guest)?;
        let timeout = timeout.as_secs().to_string();
        let began = Instant::now();
        let child = Command::new(&self.runner)
            .args(["run", "--timeout", &timeout, "--quiet", "--kernel"])
            .arg(kernel)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the runner")?;
        Ok(Running { child, began })
    }

    fn times_out(&self, guest: &str, more: &[&str]) -> Result<()> {
        let mut running = self.start(guest, TIMEOUT, more)?;
        running.ends_with(TIMED_OUT, TIMEOUT + GRACE)
    }

    /// Its machines share the processors, and each has a teardown of its own.
    fn fleet(&self) -> Result<()> {
        let mut running = self.start("output", TIMEOUT, &["--count", "8", "--parallel", "8"])?;
        running.ends_with(TIMED_OUT, TIMEOUT + 8 * GRACE)
    }

    /// The guest ends by itself, with much left to do.
    fn exits(&self, guest: &str, more: &[&str]) -> Result<()> {
        let mut running = self.start(guest, Duration::from_secs(30), more)?;
        running.ends_with(0, Duration::from_millis(100) + GRACE)
    }

    /// A guest that looks for input is interrupted by its timeout at any moment. Many run at once, and share the processors:
    /// what counts is that each ends.
    fn input(&self) -> Result<()> {
        let starts = (0..24).map(|_| self.start("input", TIMEOUT, &[]));
        let mut running: Vec<Running> = starts.collect::<Result<_>>()?;
        let mut ends = running.iter_mut();
        ends.try_for_each(|one| one.ends_with(TIMED_OUT, Duration::from_secs(20)))
    }

    /// Each signal by which a user ends a program, whatever the machine is busy with.
    fn signals(&self) -> Result<()> {
        for signal in ["TERM", "INT", "HUP", "QUIT"] {
            for (guest, more) in [
                ("output", vec![]),
                ("disk", vec!["--disk".to_owned(), self.sparse()?]),
            ] {
                let more: Vec<&str> = more.iter().map(String::as_str).collect();
                let mut running = self.start(guest, Duration::from_secs(30), &more)?;
                running.until_ready()?;
                running.signal(signal)?;
                running.began = Instant::now();
                running.ends_with(INTERRUPTED, GRACE)?;
            }
        }
        Ok(())
    }

    /// The bytes that a guest can make the runner keep have a bound.
    fn toggle(&self) -> Result<()> {
        let mut running = self.start("toggle", TIMEOUT, &["--disk", &self.sparse()?])?;
        running.until_ready()?;
        let early = running.rss_kib()?;
        let mut most = early;
        while running.began.elapsed() < TIMEOUT / 2 {
            most = most.max(running.rss_kib()?);
        }
        ensure!(
            most < early + MEMORY_KIB,
            "the runner grew from {early} to {most} KiB"
        );
        running.ends_with(TIMED_OUT, TIMEOUT + GRACE)
    }
}

impl Running {
    /// Waits for the end, which comes within this time of `began`.
    fn ends_with(&mut self, status: i32, within: Duration) -> Result<()> {
        let limit = within + Duration::from_secs(10);
        let ended = loop {
            match self.child.try_wait()? {
                Some(status) => break Some(status),
                None if self.began.elapsed() > limit => break None,
                None => std::thread::yield_now(),
            }
        };
        let took = self.began.elapsed();
        let code = ended.and_then(|status: ExitStatus| status.code());
        ensure!(
            code == Some(status),
            "it ended with {ended:?} instead of {status} after {took:?}"
        );
        ensure!(took <= within, "it took {took:?}, more than {within:?}");
        Ok(())
    }

    /// Waits until the machine runs: its runner has confined itself by then.
    fn until_ready(&self) -> Result<()> {
        let status = format!("/proc/{}/status", self.child.id());
        while !fs::read_to_string(&status)?.contains("Seccomp:\t2") {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let (signal, process) = (format!("-{signal}"), self.child.id().to_string());
        let sh = Shell::new()?;
        Ok(cmd!(sh, "kill {signal} {process}").quiet().run()?)
    }

    fn rss_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("no VmRSS")?.parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds a guest of ci/hostile.
fn build(context: &Context<'_>, guest: &str) -> Result<PathBuf> {
    let sources = context.layout.root().join("ci/hostile");
    let dir = context.layout.artefacts("hostile");
    make_dir(&dir)?;
    let path = dir.join(guest);
    let [script, start, program] =
        ["hostile.ld", "start.S", "hostile.c"].map(|name| sources.join(name));
    if fresh(&path, &[&script, &start, &program]) {
        return Ok(path);
    }
    let (define, sh) = (format!("-DGUEST={guest}"), Shell::new()?);
    cmd!(
        sh,
        "cc -O1 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -no-pie -mno-red-zone -mgeneral-regs-only
         -fno-stack-protector -fcf-protection=none -fno-tree-loop-distribute-patterns -Wl,--build-id=none -Wl,--nmagic
         -Wl,--no-warn-rwx-segments -Wl,-T,{script} {define} {start} {program} -o {path}"
    )
    .quiet()
    .run()
    .with_context(|| format!("building {guest}"))?;
    Ok(path)
}

/// Whether a file is newer than all that it is made of.
fn fresh(file: &Path, parts: &[&Path]) -> bool {
    let modified = |file: &Path| fs::metadata(file).and_then(|file| file.modified()).ok();
    let built = modified(file);
    built.is_some() && parts.iter().all(|part| modified(part) < built)
}
