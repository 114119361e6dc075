//! Many machines in one process: in the lab, and on this machine's KVM.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::check::{Check, Context};
use super::command::Run;
use super::inside::Lab;
use crate::guest::userland;

/// How many machines are ready at the same time.
const MACHINES: &str = "64";

/// Memory of each machine, and of the lab for all of them, in MiB. With small pages, each machine touches some 6 MiB of its
/// own.
const MEMORY: &str = "64";
const LAB_MEMORY_MIB: u64 = 1024;

/// The most lab microseconds that loading from the shared files may take in the fastest machine, the one that the others
/// interrupt least.
const LOAD_US: f64 = 120.0;

/// The most KiB that the process may need per machine, guest pages not counted.
const RSS_KIB: f64 = 512.0;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("lab/many", in_lab),
        Check::new("host/many/flat", on_host).on_kvm(),
        Check::new("host/many/one fails", one_fails).on_kvm(),
        Check::new("host/many/timeouts", timeouts).on_kvm(),
        Check::new("host/many/interrupted", interrupted).on_kvm(),
    ]
}

fn in_lab(context: &Context<'_>) -> Result<()> {
    let lab = Lab {
        profile: "min",
        memory_mib: LAB_MEMORY_MIB,
        ..Lab::default()
    };
    let runner = userland::runner(context.layout)?;
    let files = "run --kernel /lab/vmlinux --initrd /lab/initramfs --json";
    let shape = ["--count", MACHINES, "--parallel", MACHINES];
    let memory = ["--memory", MEMORY, "--pages", "4k"];
    let words = files.split(' ').chain(shape).chain(memory);
    let said = lab.run(context, &runner, words)?;
    let report: Value = serde_json::from_str(&said)?;
    outcomes(&report, &["ready"; 64])?;
    let loads = runs(&report)?
        .iter()
        .filter_map(|run| run["us"]["load"].as_f64());
    let least = loads.min_by(f64::total_cmp).context("no load")?;
    ensure!(least < LOAD_US, "loading takes {least} lab us");
    Ok(())
}

/// The command that runs machines with this kernel.
fn command(context: &Context<'_>, kernel: &Path, more: &[&str]) -> Result<Vec<String>> {
    let runner = userland::runner(context.layout)?;
    let words = [&runner.to_string_lossy(), "run", "--kernel"].map(str::to_owned);
    let kernel = kernel.to_string_lossy().into_owned();
    let more = more.iter().map(|&word| word.to_owned());
    Ok(words.into_iter().chain([kernel]).chain(more).collect())
}

/// Runs it to its end, checks the exit status and returns the report.
fn run(context: &Context<'_>, kernel: &Path, more: &[&str], status: i32) -> Result<Value> {
    let words = command(context, kernel, &[more, &["--json"]].concat())?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = Run::program(&words).run(context)?;
    ran.ended_with(status)?.json()
}

fn runs(report: &Value) -> Result<&Vec<Value>> {
    report["runs"].as_array().context("no runs")
}

/// Checks the machines' outcomes, in any order.
fn outcomes(report: &Value, wanted: &[&str]) -> Result<()> {
    let mut found: Vec<&str> = runs(report)?
        .iter()
        .map(|run| run["outcome"].as_str().unwrap_or_default())
        .collect();
    found.sort_unstable();
    ensure!(found == wanted, "{found:?}: {report}");
    Ok(())
}

fn on_host(context: &Context<'_>) -> Result<()> {
    let flat = userland::flat(context.layout)?;
    let more = ["--count", MACHINES, "--parallel", MACHINES];
    let report = run(context, &flat, &more, 0)?;
    outcomes(&report, &["ready"; 64])?;
    let vms = &report["vms"];
    ensure!(vms["count"] == 64 && vms["parallel"] == 64, "{vms}");
    ensure!(vms["per_second"].as_f64() > Some(0.0), "{vms}");
    let rss = vms["rss_kib_per_vm"].as_f64().context("no memory")?;
    ensure!((1.0..RSS_KIB).contains(&rss), "{rss} KiB for each");
    Ok(())
}

/// Two machines want a disk for themselves: one fails, which does not disturb the other.
fn one_fails(context: &Context<'_>) -> Result<()> {
    let disk = tempfile::NamedTempFile::new()?;
    disk.as_file().set_len(1 << 20)?;
    let disk = disk.path().to_string_lossy();
    let flat = userland::flat(context.layout)?;
    let more = ["--count", "2", "--parallel", "2", "--disk", &disk];
    let report = run(context, &flat, &more, 125)?;
    outcomes(&report, &["crashed", "ready"])
}

/// The flat kernel, changed to loop forever after it has signalled ready.
fn endless(dir: &Path) -> Result<std::path::PathBuf> {
    let mut kernel = jiffy_flat::FLAT.to_vec();
    // mov $0, %al; out %al, %dx: the end. Instead: jmp here.
    let end = kernel
        .windows(3)
        .position(|code| code == [0xb0, 0, 0xee])
        .context("the flat kernel does not end")?;
    kernel[end..end + 2].copy_from_slice(&[0xeb, 0xfe]);
    let path = dir.join("vmlinux");
    fs::write(&path, kernel)?;
    Ok(path)
}

fn timeouts(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kernel = endless(dir.path())?;
    let more = ["--count", "4", "--parallel", "3", "--timeout", "0.5"];
    let report = run(context, &kernel, &more, 124)?;
    outcomes(&report, &["timed-out"; 4])
}

/// SIGINT to the process ends all its machines.
fn interrupted(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kernel = endless(dir.path())?;
    let more = ["--count", "9", "--parallel", "4", "--ready-fd", "1"];
    let limit = ["--timeout", "100"];
    let words = command(context, &kernel, &[&more[..], &limit].concat())?;
    let mut runner = Command::new(&words[0])
        .args(&words[1..])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = runner.stdout.take().context("no stdout")?;
    // Each running machine prints a byte.
    stdout.read_exact(&mut [0; 4])?;
    let id = runner.id().to_string();
    let sh = Shell::new()?;
    cmd!(sh, "kill -INT {id}").quiet().run()?;
    let ended = runner.wait_with_output()?;
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(130), "{}: {told}", ended.status);
    let count = told.matches(": interrupted").count();
    ensure!(count == 4, "{count} were interrupted: {told}");
    Ok(())
}
