//! `cargo xtask boot`: build what is missing and boot it, with a program if one is named.

mod traced;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::build::{self, Artefacts, BuildOptions};
use crate::cache::Cache;
use crate::devices::DeviceOptions;
use crate::failure::{fault, usage};
use crate::foreign;
use crate::guest;
use crate::install::{self, Need};
use crate::lab;
use crate::layout::Layout;
use crate::payload::{Payload, existing};
use crate::ui::Ui;
use crate::units::{mebibytes, seconds};
use crate::userland;

pub(crate) use traced::trace;

/// Where the runner runs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// On this machine's KVM if it is usable, else in the lab
    Auto,
    /// On this machine's KVM
    Host,
    /// In the lab: a machine with KVM that QEMU emulates; figures repeat
    Lab,
}

/// What boots the guest.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Vmm {
    /// Our runner
    Host,
    /// QEMU's microvm under KVM
    QemuKvm,
    /// QEMU's microvm without KVM
    QemuTcg,
}

/// The kind of KVM that the lab has.
pub(crate) const LAB: &str = "lab";

const EXAMPLES: &str = "\
Exit status: the program's own; 0 ready; 124 timed out; 125 the runner's or the guest's fault; 1 the build failed;
2 bad usage.

Examples:
  cargo xtask boot --install
  cargo xtask boot --profile min --on lab --json
  echo hello | cargo xtask boot -- /usr/bin/tr a-z A-Z";

/// What to boot, where, and what to run in it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BootOptions {
    #[command(flatten)]
    build: BuildOptions,
    /// Boot this vmlinux instead of ours
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// How the kernel is entered: linux64 or pvh
    #[arg(long, value_name = "PROTOCOL", default_value = "linux64")]
    entry: String,
    /// Boot with this initramfs instead of ours; several are put one behind the other
    #[arg(long, value_name = "FILE")]
    initrd: Vec<PathBuf>,
    /// Guest memory
    #[arg(long, value_name = "SIZE", default_value = "128M")]
    memory: String,
    /// Virtual processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// What backs guest memory: auto, 4k, thp or 2m
    #[arg(long, value_name = "KIND", default_value = "auto")]
    pages: String,
    #[command(flatten)]
    devices: DeviceOptions,
    /// The longest that the guest may run
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    timeout: String,
    /// More for the kernel's command line
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// Write one byte 0x01 to this descriptor when the guest is ready
    #[arg(long, value_name = "N")]
    ready_fd: Option<u32>,
    /// Where the runner runs
    #[arg(long, value_enum, default_value_t = On::Auto)]
    on: On,
    /// What boots the guest
    #[arg(long, value_enum, default_value_t = Vmm::Host)]
    vmm: Vmm,
    /// Boot N times and summarise
    #[arg(long, value_name = "N")]
    runs: Option<u32>,
    /// A program to run in the guest, and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// What `jiffy probe --json` prints.
#[derive(Deserialize)]
pub(crate) struct Probe {
    /// hardware, software, lab, or none.
    pub(crate) kind: String,
    /// Why there is none.
    pub(crate) reason: String,
}

/// Runs the command; the status is the guest program's where there is one.
pub(crate) fn run(layout: &Layout, options: &BootOptions) -> Result<ExitCode> {
    let ui = Ui::new(options.build.quiet);
    let timeout = seconds(&options.timeout)?;
    let memory_mib = mebibytes(&options.memory)?;
    if let Some(payload) = options.payload() {
        payload.check()?;
    }
    if options.vmm != Vmm::Host {
        return in_qemu(layout, &ui, options, memory_mib, timeout).map(ExitCode::from);
    }
    let needs_lab = options.on == On::Lab;
    let probe = if needs_lab {
        None
    } else {
        Some(probe(layout)?)
    };
    match probe {
        Some(probe) if probe.kind != "none" => on_host(layout, &ui, options, &probe),
        Some(probe) if options.on == On::Host => Err(fault(format!(
            "this machine's KVM cannot be used: {}; `--on lab` needs none",
            probe.reason
        ))),
        other => {
            if let Some(probe) = other {
                ui.say(&format!("{}; booting in the lab instead", probe.reason));
            }
            in_lab(layout, &ui, options, memory_mib, timeout).map(ExitCode::from)
        }
    }
}

/// Asks the runner what KVM this machine has.
pub(crate) fn probe(layout: &Layout) -> Result<Probe> {
    let runner = userland::runner(layout)?;
    let sh = Shell::new()?;
    let said = cmd!(sh, "{runner} probe --json").quiet().read()?;
    serde_json::from_str(&said).with_context(|| format!("reading the runner's probe {said:?}"))
}

/// The kind of KVM that figures come from: the lab's, unless this machine's is hardware or was asked for.
pub(crate) fn measured_on(layout: &Layout, on: On) -> Result<String> {
    if on == On::Lab {
        return Ok(LAB.to_owned());
    }
    let kind = probe(layout)?.kind;
    Ok(match on {
        On::Auto if kind != "hardware" => LAB.to_owned(),
        _ => kind,
    })
}

/// The kernel and the archives of the initramfs, ours or the user's.
fn files(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    compat: bool,
) -> Result<(PathBuf, Vec<PathBuf>)> {
    let kernel = options
        .kernel
        .as_deref()
        .map(|file| existing("--kernel", file))
        .transpose()?
        .map(|file| foreign::vmlinux(layout, ui, &file, options.build.install))
        .transpose()?;
    let initrds = options
        .initrd
        .iter()
        .map(|file| existing("--initrd", file))
        .collect::<Result<Vec<_>>>()?;
    if let Some(kernel) = kernel {
        if initrds.is_empty() {
            let ours = userland::initramfs(layout, &options.build.profile)?;
            return Ok((kernel, vec![ours]));
        }
        return Ok((kernel, initrds));
    }
    let Artefacts {
        vmlinux,
        compat: built,
        initramfs,
    } = build::build(layout, ui, &options.build, compat)?;
    let initrds = if initrds.is_empty() {
        initramfs.into_iter().collect()
    } else {
        initrds
    };
    Ok((built.unwrap_or(vmlinux), initrds))
}

/// The runner's options that are the same everywhere.
fn runner_options(options: &BootOptions) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut pair = |name: &str, value: &str| args.extend([name.into(), value.into()]);
    pair("--memory", &options.memory);
    pair("--cpus", &options.cpus.to_string());
    pair("--pages", &options.pages);
    pair("--entry", &options.entry);
    pair("--timeout", &options.timeout);
    if options.kernel.is_none() {
        pair("--profile", &options.build.profile);
    }
    if let Some(text) = &options.cmdline {
        pair("--cmdline", text);
    }
    if let Some(runs) = options.runs {
        pair("--runs", &runs.to_string());
    }
    for (asked, name) in [
        (options.build.json, "--json"),
        (options.build.quiet, "--quiet"),
    ] {
        if asked {
            args.push(name.into());
        }
    }
    args
}

impl BootOptions {
    /// The program and its arguments, if there is one.
    fn payload(&self) -> Option<Payload> {
        Payload::new(&self.program, self.devices.has_root())
    }

    /// Say nothing but errors.
    pub(crate) fn quiet(&self) -> bool {
        self.build.quiet
    }

    /// One JSON object on stdout.
    pub(crate) fn json(&self) -> bool {
        self.build.json
    }
}

/// The runner's command for a boot on this machine. It was built when it was asked what KVM there is.
fn on_this_machine(
    layout: &Layout,
    options: &BootOptions,
    kernel: &Path,
    initrds: &[PathBuf],
    mut args: Vec<OsString>,
) -> Result<Command> {
    let runner = layout.runner();
    args.extend(options.devices.on_host(layout)?);
    for initrd in initrds {
        args.extend(["--initrd".into(), initrd.into()]);
    }
    if !options.program.is_empty() {
        args.push("--".into());
        args.extend(options.program.iter().cloned());
    }
    let sh = Shell::new()?;
    Ok(cmd!(sh, "{runner} run --kernel {kernel} {args...}")
        .quiet()
        .into())
}

/// Becomes the runner: its streams, signals and exit status are ours.
fn on_host(layout: &Layout, ui: &Ui, options: &BootOptions, probe: &Probe) -> Result<ExitCode> {
    let software = probe.kind == "software";
    let (kernel, initrds) = files(layout, ui, options, software)?;
    if software {
        ui.say("this processor has no virtualization: KVM emulates the kernel, so times are no boot times (see --on lab)");
    }
    let mut args = runner_options(options);
    if let Some(fd) = options.ready_fd {
        args.extend(["--ready-fd".into(), fd.to_string().into()]);
    }
    let error = on_this_machine(layout, options, &kernel, &initrds, args)?.exec();
    Err(error).with_context(|| format!("running {}", layout.runner().display()))
}

fn in_lab(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    memory_mib: u64,
    timeout: Duration,
) -> Result<u8> {
    if options.ready_fd.is_some() {
        return Err(usage(
            "--ready-fd is of this machine; use it with --on host",
        ));
    }
    install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
    let payload = options.payload();
    let (kernel, initrds) = files(layout, ui, options, false)?;
    let run = lab::Run {
        kernel,
        initrds,
        memory_mib,
        options: runner_options(options),
        devices: options.devices.in_lab(layout)?,
        timeout,
        json: options.build.json,
        payload,
        stdout: None,
    };
    lab::run(layout, ui, &Cache::open()?, &options.build, &run)
}

fn in_qemu(
    layout: &Layout,
    ui: &Ui,
    options: &BootOptions,
    memory_mib: u64,
    timeout: Duration,
) -> Result<u8> {
    if options.runs.is_some()
        || options.cpus != 1
        || options.ready_fd.is_some()
        || !options.devices.is_empty()
    {
        return Err(usage(
            "--vmm qemu-* takes no --runs, --cpus, --ready-fd or devices",
        ));
    }
    install::ensure(ui, &[Need::Qemu], &[], options.build.install)?;
    let (kernel, initrds) = files(layout, ui, options, false)?;
    let boot = guest::Boot {
        accelerator: if options.vmm == Vmm::QemuKvm {
            "kvm"
        } else {
            "tcg"
        },
        kernel,
        initrds,
        memory_mib,
        timeout,
        json: options.build.json,
        payload: options.payload(),
    };
    guest::boot(ui, &Cache::open()?, &boot)
}
