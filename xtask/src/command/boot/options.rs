//! Options of `cargo xtask boot`, and those of them that are passed to the runner.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiffy::boot::{CpuFeatures, MemorySize, Pages, Protocol};

use crate::base::units::seconds;
use crate::guest::artefacts::BuildOptions;
use crate::guest::devices::DeviceOptions;
use crate::guest::payload::Payload;
use crate::machine::kvm::On;

const EXAMPLES: &str = "\
Exit status: the program's own; 0 ready; 124 timed out; 125 the runner or the guest failed; 1 the build failed;
2 bad usage.

Examples:
  cargo xtask boot --install
  cargo xtask boot --profile min --on lab --json
  echo hello | cargo xtask boot -- /usr/bin/tr a-z A-Z";

/// What boots the guest.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Vmm {
    /// Our runner
    Host,
    /// QEMU's microvm under KVM
    QemuKvm,
    /// QEMU's microvm without KVM
    QemuTcg,
}

/// What to boot, where, and what to run in it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BootOptions {
    #[command(flatten)]
    pub(super) build: BuildOptions,
    /// Boot this vmlinux or bzImage instead of our kernel
    #[arg(long, value_name = "FILE")]
    pub(super) kernel: Option<PathBuf>,
    /// How to enter the kernel: linux64 or pvh
    #[arg(long, value_name = "PROTOCOL", default_value_t)]
    pub(super) entry: Protocol,
    /// Boot with this initramfs instead of ours; may be repeated to concatenate several
    #[arg(long, value_name = "FILE")]
    pub(super) initrd: Vec<PathBuf>,
    /// Guest memory, in MiB or with a suffix K, M or G
    #[arg(long, value_name = "SIZE", default_value_t)]
    pub(super) memory: MemorySize,
    /// Number of virtual processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) cpus: u32,
    /// What the guest's processor has on request: nested (VMX or SVM), pmu, or both
    #[arg(long, value_name = "nested,pmu")]
    pub(super) cpu: Option<CpuFeatures>,
    /// What backs guest memory: auto, 4k, thp or 2m
    #[arg(long, value_name = "KIND", default_value_t)]
    pub(super) pages: Pages,
    #[command(flatten)]
    pub(super) devices: DeviceOptions,
    /// How long the guest may run
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(super) timeout: Duration,
    /// Words to add to the kernel's command line; -X removes the runner's own word X
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) cmdline: Option<String>,
    /// Write a byte 0x01 to this file descriptor when the guest is ready
    #[arg(long, value_name = "N")]
    pub(super) ready_fd: Option<u32>,
    /// Where the runner runs
    #[arg(long, value_enum, default_value_t = On::Auto)]
    pub(super) on: On,
    /// What boots the guest
    #[arg(long, value_enum, default_value_t = Vmm::Host)]
    pub(super) vmm: Vmm,
    /// Boot N times and print a summary
    #[arg(long, value_name = "N")]
    pub(super) runs: Option<u32>,
    /// A program to run in the guest, and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    pub(super) program: Vec<OsString>,
}

impl BootOptions {
    /// The program and its arguments, if there is one.
    pub(super) fn payload(&self) -> Option<Payload> {
        Payload::new(&self.program, self.devices.has_root())
    }

    /// Whether PID 1 is ours.
    pub(crate) fn has_own_pid1(&self) -> bool {
        self.initrd.is_empty()
    }

    /// Say nothing but errors.
    pub(crate) fn quiet(&self) -> bool {
        self.build.quiet
    }

    /// One JSON object on stdout.
    pub(crate) fn json(&self) -> bool {
        self.build.json
    }

    /// The runner's options that are the same everywhere.
    pub(super) fn runner(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut pair = |name: &str, value: &str| args.extend([name.into(), value.into()]);
        pair("--memory", &self.memory.to_string());
        pair("--cpus", &self.cpus.to_string());
        pair("--pages", self.pages.name());
        pair("--entry", self.entry.name());
        pair("--timeout", &self.timeout.as_secs_f64().to_string());
        if self.kernel.is_none() {
            pair("--profile", &self.build.profile);
        }
        if let Some(cpu) = &self.cpu {
            pair("--cpu", cpu.name());
        }
        if let Some(text) = &self.cmdline {
            pair("--cmdline", text);
        }
        if let Some(runs) = self.runs {
            pair("--runs", &runs.to_string());
        }
        for (asked, name) in [(self.build.json, "--json"), (self.build.quiet, "--quiet")] {
            if asked {
                args.push(name.into());
            }
        }
        args
    }
}
