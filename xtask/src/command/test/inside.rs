//! Runs programs in the lab beside a runner and its guest, to see what cannot be seen from outside the lab.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::check::Context;
use crate::base::cache::Cache;
use crate::base::files::read;
use crate::base::ui::Ui;
use crate::guest::artefacts::{self, BuildOptions};
use crate::guest::devices::InLab;
use crate::guest::userland;
use crate::machine::lab::{self, Job};

/// Path of busybox on this machine.
const BUSYBOX_HERE: &str = "/bin/busybox";

/// Starts the runner in the lab; more options and a program may follow.
pub(crate) const RUNNER: &str =
    "/lab/jiffy run --quiet --kernel /lab/vmlinux --initrd /lab/initramfs";

/// Path of the tests' peer in the lab.
pub(crate) const PEER: &str = "/lab/peer";

/// Path of busybox in the lab, whatever program runs.
pub(crate) const BUSYBOX: &str = "/lab/busybox";

/// A lab, with the runner, a guest's kernel and initramfs, the peer and busybox as files in /lab.
pub(crate) struct Lab {
    /// The guest's parts.
    pub(crate) profile: &'static str,
    /// Memory for guests, in MiB.
    pub(crate) memory_mib: u64,
    /// Time limit for the program: enough for emulated guests on a busy machine.
    pub(crate) timeout: Duration,
    /// QEMU options for the devices that its guests are given.
    pub(crate) devices: Vec<OsString>,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            profile: "default",
            memory_mib: 256,
            timeout: Duration::from_secs(120),
            devices: Vec::new(),
        }
    }
}

impl Lab {
    /// Runs a program of this machine in the lab and returns its output. The program must succeed.
    pub(crate) fn run<'a>(
        self,
        context: &Context<'_>,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<String> {
        let (layout, ui) = (context.layout, Ui::new(true));
        let options = BuildOptions::of_test(self.profile, context.source);
        let guest = artefacts::build(layout, &ui, &options, false)?;
        let files = [
            ("lab/jiffy", userland::runner(layout)?),
            ("lab/peer", userland::peer(layout)?),
            ("lab/busybox", BUSYBOX_HERE.into()),
            ("lab/vmlinux", guest.vmlinux),
            ("lab/initramfs", guest.initramfs.context("no initramfs")?),
        ];
        let job = Job {
            program: program.to_owned(),
            arguments: arguments.into_iter().map(OsString::from).collect(),
            programs: Vec::new(),
            files: files
                .iter()
                .map(|(name, path)| Ok(((*name).to_owned(), read(path)?)))
                .collect::<Result<_>>()?,
            devices: self.devices,
            memory_mib: self.memory_mib,
            timeout: self.timeout,
            stdout: Box::new(io::sink()),
        };
        lab::printed(layout, &ui, &Cache::open()?, &options, job)
    }

    /// Runs busybox' shell in the lab and returns its output; `$1` and so on are `arguments`.
    pub(crate) fn shell(
        self,
        context: &Context<'_>,
        script: &str,
        arguments: &[&str],
    ) -> Result<String> {
        let words = [&["sh", "-c", script, "sh"], arguments].concat();
        self.run(context, Path::new(BUSYBOX_HERE), words)
    }
}

/// Runs busybox' shell in a lab with these disks and returns its output; `$1` and so on are `arguments`.
pub(crate) fn shell(
    context: &Context<'_>,
    disks: &InLab,
    script: &str,
    arguments: &[&str],
) -> Result<String> {
    let lab = Lab {
        devices: disks.qemu.clone(),
        ..Lab::default()
    };
    lab.shell(context, script, arguments)
}

/// Runs the tests' peer in the lab and returns its output.
pub(crate) fn peer<'a>(
    context: &Context<'_>,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Result<String> {
    Lab::default().run(context, &userland::peer(context.layout)?, arguments)
}
