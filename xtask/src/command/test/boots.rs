//! Whole boots: each profile to ready, and programs with their arguments, streams and exit status; in the lab, on this
//! machine's KVM, and in QEMU's microvm.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::check::{Check, Context};
use super::command::Run;
use crate::base::layout::Layout;
use crate::machine::kvm::probe;

/// Time limit for compiling a kernel on a slow machine, in seconds.
const BUILD_TIMEOUT: u64 = 2400;

/// The most seconds that a second build may take when nothing has changed.
const REBUILD: f64 = 2.0;

/// Two runs of the same boot in the lab differ by less than this share.
const REPEATS: f64 = 0.01;

/// A place where boots are tested, with its options.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    options: &'static [&'static str],
    /// Time limit for a guest. Software KVM takes some 40 s to boot `default` on a busy machine.
    timeout: &'static str,
    /// `kvm.kind` in the report: one of these.
    kinds: &'static [&'static str],
}

const LAB: Place = Place {
    name: "lab",
    options: &["--on", "lab"],
    timeout: "60",
    kinds: &["lab"],
};

const HOST: Place = Place {
    name: "host",
    options: &["--on", "host"],
    timeout: "300",
    kinds: &["hardware", "software"],
};

const QEMU: Place = Place {
    name: "qemu",
    options: &["--vmm", "qemu-tcg"],
    timeout: "60",
    kinds: &[],
};

/// A script that reads a line and reports its input on both output streams.
const SCRIPT: &str = r#"read line; echo "$1 and $line"; echo "not $2" >&2; exit 7"#;

/// A dynamic shell, and one without libraries.
const SHELLS: [(&str, &[&str]); 2] = [
    ("dynamic", &["/bin/sh"]),
    ("static", &["/bin/busybox", "sh"]),
];

/// Why this machine's KVM cannot be used, if it cannot.
pub(crate) fn no_kvm(layout: &Layout) -> Result<Option<String>> {
    let probe = probe(layout)?;
    Ok(probe.kind.is_none().then_some(probe.reason))
}

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = ["min", "default", "lab", "smp"]
        .map(|profile| {
            Check::new(format!("build/{profile}"), move |context| {
                build(context, profile)?;
                Ok(())
            })
        })
        .into();
    checks.push(Check::new("build/again", again));
    for place in [LAB, HOST, QEMU] {
        checks.extend(in_place(place).into_iter().map(|check| {
            if place.name == HOST.name {
                check.on_kvm()
            } else {
                check
            }
        }));
    }
    checks.push(Check::new("lab/repeats", repeats));
    checks.push(Check::new("lab/runs", runs));
    checks.push(Check::new("lab/pvh", pvh));
    checks
}

fn in_place(place: Place) -> Vec<Check> {
    let mut checks = Vec::new();
    if place.name != QEMU.name {
        // QEMU enters a vmlinux by PVH, which the flat kernel does not support.
        let name = format!("{}/flat/ready", place.name);
        checks.push(Check::new(name, move |context| {
            ready(context, place, "flat").map(|_| ())
        }));
    }
    for profile in ["min", "default"] {
        let name = format!("{}/{profile}/ready", place.name);
        checks.push(Check::new(name, move |context| {
            ready(context, place, profile).map(|_| ())
        }));
        for (kind, shell) in SHELLS {
            let name = format!("{}/{profile}/{kind}", place.name);
            checks.push(Check::new(name, move |context| {
                program(context, place, profile, shell)
            }));
        }
    }
    checks.push(Check::new(
        format!("{}/timeout", place.name),
        move |context| timeout(context, place),
    ));
    checks
}

fn build(context: &Context<'_>, profile: &str) -> Result<std::time::Duration> {
    let mut args = vec!["build", "--profile", profile, "--json"];
    // Neither of these runs on software KVM.
    if context.no_kvm.is_none() && !matches!(profile, "lab" | "smp") {
        args.push("--compat");
    }
    let ran = Run::xtask(args.into_iter().chain(context.source.arguments()))?
        .timeout(BUILD_TIMEOUT)
        .run(context)?;
    let made = ran.ended_with(0)?.json()?;
    for file in ["vmlinux", "initramfs", "runner"] {
        let path = made[file].as_str().context("a path")?;
        ensure!(std::path::Path::new(path).is_file(), "{path} is missing");
    }
    Ok(ran.took)
}

fn again(context: &Context<'_>) -> Result<()> {
    let took = build(context, "default")?.as_secs_f64();
    ensure!(
        took < REBUILD,
        "a build with nothing changed took {took:.1} s"
    );
    Ok(())
}

fn boot(context: &Context<'_>, place: Place, profile: &str, more: &[&str]) -> Result<Run> {
    let args = ["boot", "--profile", profile];
    Run::xtask(
        args.into_iter()
            .chain(context.source.arguments())
            .chain(place.options.iter().copied())
            .chain(more.iter().copied()),
    )
}

fn ready(context: &Context<'_>, place: Place, profile: &str) -> Result<Value> {
    let ran = boot(
        context,
        place,
        profile,
        &["--timeout", place.timeout, "--json"],
    )?
    .timeout(400)
    .run(context)?;
    let report = ran.ended_with(0)?.json()?;
    ensure!(report["outcome"] == "ready", "{report}");
    ensure!(report["schema"] == 1, "{report}");
    ensure!(report["us"]["to_ready"].as_f64() > Some(0.0), "{report}");
    if !place.kinds.is_empty() {
        let kind = report["kvm"]["kind"].as_str().unwrap_or_default();
        ensure!(place.kinds.contains(&kind), "{report}");
        ensure!(report["kernel"]["profile"] == profile, "{report}");
    }
    Ok(report)
}

fn program(context: &Context<'_>, place: Place, profile: &str, shell: &[&str]) -> Result<()> {
    let arguments = ["-c", SCRIPT, "sh", "one  word", "two"];
    let options = ["--timeout", place.timeout, "--quiet", "--"];
    let words = [&options, shell, &arguments].concat();
    // QEMU's debug ports take output only, so the program's stdin is empty there.
    let heard = if place.name == QEMU.name {
        ""
    } else {
        "a line"
    };
    let ran = boot(context, place, profile, &words)?
        .stdin("a line\nanother\n")
        .timeout(400)
        .run(context)?;
    ran.ended_with(7)?
        .printed(&format!("one  word and {heard}\n"))?;
    ensure!(ran.stderr == "not two\n", "stderr is {:?}", ran.stderr);
    Ok(())
}

fn timeout(context: &Context<'_>, place: Place) -> Result<()> {
    // Booting the kernel alone takes seconds on software KVM, and half a second in QEMU.
    let seconds = if place.name == HOST.name { "15" } else { "4" };
    let words = [
        "--timeout",
        seconds,
        "--",
        "/bin/sh",
        "-c",
        "while :; do :; done",
    ];
    boot(context, place, "min", &words)?
        .timeout(400)
        .run(context)?
        .ended_with(124)?;
    Ok(())
}

fn runs(context: &Context<'_>) -> Result<()> {
    let ran = boot(context, LAB, "min", &["--json", "--runs", "3"])?.run(context)?;
    let report = ran.ended_with(0)?.json()?;
    ensure!(
        report["runs"].as_array().map(Vec::len) == Some(3),
        "{report}"
    );
    let spread = &report["summary"]["us"]["to_ready"];
    ensure!(spread["p50"].as_f64() > Some(0.0), "{report}");
    Ok(())
}

/// Profile min with an ELF entry point outside of its segments: the runner enters it by PVH, even if told to use linux64.
fn pvh(context: &Context<'_>) -> Result<()> {
    const E_ENTRY: std::ops::Range<usize> = 24..32;
    build(context, "min")?;
    let dir = tempfile::tempdir()?;
    let mut image = crate::base::files::read(&context.layout.artefacts("min").join("vmlinux"))?;
    image[E_ENTRY].copy_from_slice(&u64::MAX.to_le_bytes());
    let kernel = dir.path().join("vmlinux");
    std::fs::write(&kernel, image)?;
    let kernel = kernel.to_string_lossy();
    for entry in ["pvh", "linux64"] {
        let more = ["--kernel", &kernel, "--entry", entry, "--json"];
        let ran = boot(context, LAB, "min", &more)?.run(context)?;
        let report = ran.ended_with(0)?.json()?;
        ensure!(report["outcome"] == "ready", "{report}");
    }
    Ok(())
}

fn repeats(context: &Context<'_>) -> Result<()> {
    let time = || -> Result<f64> {
        let report = ready(context, LAB, "default")?;
        report["us"]["to_ready"].as_f64().context("no to_ready")
    };
    let (first, second) = (time()?, time()?);
    ensure!(
        (first - second).abs() < first * REPEATS,
        "two boots took {first} and {second} lab us"
    );
    Ok(())
}
