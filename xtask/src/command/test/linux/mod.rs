//! Regression tests for faults that a kernel with the series had and an unpatched kernel does not, a row each. Comparisons of
//! both kernels are in `same/`.

mod compiled;
mod direct;
mod tables;

use anyhow::{Context as _, Result, ensure};

use self::direct::{Direct, Load};
use crate::command::test::check::{Check, Context};
use crate::command::test::guests::{Kernel, guest, number};
use crate::command::test::same::{LOADED_MEMORY, lines};

/// The least share of a guest's memory that must be free when its first program starts.
const FREE: f64 = 0.95;

/// How long a program computes without a pause, in lab milliseconds.
const BUSY_MS: &str = "1000";

/// The least values with 4 GiB, a tenth below those of an unpatched kernel: a path below /proc/sys, the index of the number
/// there, and the number.
const LIMITS: [(&str, usize, f64); 8] = [
    ("fs/file-max", 0, 360_000.0),
    ("net/ipv4/tcp_mem", 2, 84_000.0),
    ("net/ipv4/udp_mem", 2, 168_000.0),
    ("net/ipv4/tcp_rmem", 2, 6_291_456.0),
    ("net/ipv4/tcp_wmem", 2, 4_194_304.0),
    ("vm/min_free_kbytes", 0, 7_000.0),
    ("vm/user_reserve_kbytes", 0, 110_000.0),
    ("kernel/threads-max", 0, 28_000.0),
];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new("linux/limits", limits),
        Check::new("linux/free memory", free),
        Check::new("linux/free memory of a busy guest", free_while_busy),
        Check::new("linux/page blocks", page_blocks),
        Check::new("linux/resets with used memory", resets),
        Check::new("linux/processors", processors),
        Check::new("linux/sysfs on four processors", sysfs),
        Check::new("linux/timer on a busy host", timer),
    ];
    checks.extend(tables::checks());
    checks.extend(compiled::checks());
    checks
}

/// Limits are computed from all memory, and can be reached.
fn limits(context: &Context<'_>) -> Result<()> {
    let memory = ["--memory", LOADED_MEMORY];
    let said = guest(context, Kernel::Ours, &memory, &["snapshot", "sysctl"])?;
    let mut low = Vec::new();
    for (path, at, least) in LIMITS {
        let start = format!("1\t/proc/sys/{path}\t");
        let line = said.lines().find_map(|line| line.strip_prefix(&start));
        let line = line.with_context(|| format!("there is no {path}"))?;
        let (_, value) = line.split_once('\t').unwrap_or_default();
        let word = value.trim_end_matches('|').split(' ').nth(at);
        let is: f64 = word.unwrap_or_default().parse()?;
        if is < least {
            low.push(format!("{path} is {is}, below {least}"));
        }
    }
    let said = guest(context, Kernel::Ours, &memory, &["load"])?;
    for line in lines(&said)? {
        if line.figures[0] > 0.0 {
            low.push(format!("{}: {} failures", line.name, line.figures[0]));
        }
    }
    ensure!(low.is_empty(), "{}", low.join("; "));
    Ok(())
}

/// Pages count as free even before their struct pages are initialised.
fn free(context: &Context<'_>) -> Result<()> {
    for memory in ["4G", "16G"] {
        let test = ["busy", "0"];
        let said = guest(context, Kernel::Ours, &["--memory", memory], &test)?;
        is_free(&said, memory)?;
    }
    Ok(())
}

fn free_while_busy(context: &Context<'_>) -> Result<()> {
    let test = ["busy", BUSY_MS];
    let said = guest(context, Kernel::Ours, &["--memory", "4G"], &test)?;
    is_free(&said, "4G")
}

fn is_free(said: &str, memory: &str) -> Result<()> {
    let total = number(said, "total")?;
    for name in ["free", "available", "sysinfo"] {
        let is = number(said, name)?;
        ensure!(
            is >= total * FREE,
            "of {memory}, {name} is {is} KiB: {said}"
        );
    }
    Ok(())
}

/// Most page blocks are movable, as each one is until something unmovable is allocated in it.
fn page_blocks(context: &Context<'_>) -> Result<()> {
    let memory = ["--memory", "1G"];
    let said = guest(context, Kernel::Ours, &memory, &["snapshot", "memory"])?;
    let line = said.lines().find(|line| line.contains("pagetypeinfo"));
    let line = line.context("there is no /proc/pagetypeinfo")?;
    let (_, blocks) = line.split_once("Number of blocks").context("no blocks")?;
    let counts: Vec<f64> = blocks
        .split([' ', '|'])
        .filter_map(|word| word.parse().ok())
        .collect();
    let (all, movable): (f64, f64) = (counts.iter().sum(), counts[1]);
    ensure!(
        movable >= all * FREE,
        "only {movable} of {all} page blocks are movable: {blocks}"
    );
    Ok(())
}

/// A machine that reboots with its old memory contents.
fn resets(context: &Context<'_>) -> Result<()> {
    const BOOTS: usize = 15;
    let ran = Direct {
        words: &format!("dirty {BOOTS}"),
        memory_mib: 128,
        restarts: true,
        ..Direct::default()
    }
    .run(context)?;
    let boots = ran.stdout.lines().count();
    ensure!(
        boots == BOOTS && ran.is_fine(),
        "ended in boot {boots} of {BOOTS}: {ran}"
    );
    Ok(())
}

/// The first program to ask is told of every processor, by its affinity and by /sys, and processors can go offline and come
/// back.
fn processors(context: &Context<'_>) -> Result<()> {
    for row in ["affinity", "online", "go-and-come"] {
        let ran = Direct {
            profile: "smp",
            words: &format!("prove 4 processors/{row}"),
            cpus: 4,
            ..Direct::default()
        }
        .run(context)?;
        ensure!(ran.is_fine(), "{row}: {ran}");
    }
    Ok(())
}

/// All processes that look up a name in /sys at the same time get the same answer.
fn sysfs(context: &Context<'_>) -> Result<()> {
    for _ in 0..3 {
        let ran = Direct {
            profile: "smp",
            words: "look 16",
            cpus: 4,
            ..Direct::default()
        }
        .run(context)?;
        ensure!(ran.is_fine(), "{ran}");
    }
    Ok(())
}

/// Timers work in QEMU without KVM on a host whose processors are all busy.
fn timer(context: &Context<'_>) -> Result<()> {
    let load = Load::start();
    for _ in 0..6 {
        let ran = Direct {
            words: "nothing",
            ..Direct::default()
        }
        .run(context)?;
        ensure!(ran.is_fine(), "{ran}");
    }
    drop(load);
    Ok(())
}
