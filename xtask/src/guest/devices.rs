//! The guest's devices: options for the runner, and hardware for the lab.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use jiffy_abi::payload::TERMINAL;

use crate::base::failure::usage;
use crate::base::files::existing;
use crate::base::layout::Layout;
use crate::guest::disk::{escaped, letter, split};
use crate::guest::rootfs::Root;

/// Devices of the guest; each is absent unless asked for.
#[derive(Args, Default)]
pub(crate) struct DeviceOptions {
    /// A disk, /dev/vda, then /dev/vdb and so on; ,ro makes it read-only, ,direct bypasses the page cache
    #[arg(long, value_name = "FILE[,ro][,direct]")]
    disk: Vec<OsString>,
    /// The guest's root, which contains PROGRAM: a directory, a tar archive, or an ext4 image
    #[arg(long, value_name = "DIR|TAR|IMAGE[,ro]")]
    rootfs: Option<PathBuf>,
    /// A network card on a tap device, which is created with the gateway's address if it does not exist
    #[arg(long, value_name = "tap=NAME[,ip=A.B.C.D/N][,gw=A.B.C.D]")]
    net: Vec<OsString>,
    /// Give the program a terminal, /dev/hvc0, connected to ours
    #[arg(long)]
    console: bool,
    /// Give the guest randomness from the host
    #[arg(long)]
    entropy: bool,
    /// Return memory that the guest frees to the host, within seconds
    #[arg(long)]
    balloon: bool,
    /// Sockets between guest and host: PATH takes `CONNECT port`; the guest reaches the host's PATH_port
    #[arg(long, value_name = "[cid=N,]uds=PATH")]
    vsock: Option<OsString>,
}

/// Hardware of the lab for a guest's devices, and the runner's options that refer to it.
#[derive(Default)]
pub(crate) struct InLab {
    /// Arguments of QEMU.
    pub(crate) qemu: Vec<OsString>,
    /// Arguments of the runner.
    pub(crate) runner: Vec<OsString>,
    /// How many disks there are.
    disks: usize,
    /// An archive to be unpacked before PID 1's own.
    pub(crate) archive: Option<PathBuf>,
    /// Flags of a payload that is packed on this machine.
    pub(crate) flags: u32,
}

impl DeviceOptions {
    /// The runner's options on this machine.
    pub(crate) fn on_host(&self, layout: &Layout) -> Result<Vec<OsString>> {
        let mut options = Vec::new();
        match self.root(layout)? {
            Some(Root::Disk(disk)) => options.extend(["--root".into(), disk]),
            Some(Root::Archive(file)) => {
                options.extend(["--in-guest".into(), "--initrd".into(), file.into()]);
            }
            None => {}
        }
        for disk in &self.disk {
            options.extend(["--disk".into(), disk.clone()]);
        }
        if let Some(vsock) = &self.vsock {
            options.extend(["--vsock".into(), vsock.clone()]);
        }
        options.extend(self.without_files());
        Ok(options)
    }

    fn root(&self, layout: &Layout) -> Result<Option<Root>> {
        let given = self.rootfs.as_deref();
        given.map(|given| Root::find(layout, given)).transpose()
    }

    /// Whether the program is in the guest's root.
    pub(crate) fn has_root(&self) -> bool {
        self.rootfs.is_some()
    }

    /// The guest's root as it was given.
    pub(crate) fn rootfs(&self) -> Option<&Path> {
        self.rootfs.as_deref()
    }

    /// Options that do not refer to files of a machine.
    fn without_files(&self) -> Vec<OsString> {
        let mut options = Vec::new();
        for net in &self.net {
            options.extend(["--net".into(), net.clone()]);
        }
        if self.console {
            options.push("--console".into());
        }
        if self.entropy {
            options.push("--entropy".into());
        }
        if self.balloon {
            options.push("--balloon".into());
        }
        options
    }

    /// The devices in the lab. The lab passes disks through, so that the guest's writes end up in the file here.
    pub(crate) fn in_lab(&self, layout: &Layout) -> Result<InLab> {
        if self.vsock.is_some() {
            return Err(usage(
                "--vsock: the lab's sockets cannot be reached from this machine; use --on host",
            ));
        }
        let mut lab = InLab {
            flags: if self.console { TERMINAL } else { 0 },
            ..InLab::default()
        };
        match self.root(layout)? {
            Some(Root::Disk(disk)) => {
                lab.add_disk("--root", &disk)?;
            }
            Some(Root::Archive(file)) => lab.archive = Some(file),
            None => {}
        }
        for disk in &self.disk {
            lab.add_disk("--disk", disk)?;
        }
        lab.runner.extend(self.without_files());
        Ok(lab)
    }

    /// Whether no device is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.disk.is_empty()
            && self.rootfs.is_none()
            && self.net.is_empty()
            && !self.console
            && !self.entropy
            && !self.balloon
            && self.vsock.is_none()
    }
}

impl InLab {
    /// Adds a disk for an option of the runner; `disk` is its file with settings appended.
    pub(crate) fn add_disk(&mut self, option: &str, disk: &OsStr) -> Result<()> {
        if self.disks == 0 {
            // Without ACPI, QEMU describes devices to the lab's kernel on the command line.
            self.qemu.extend(["-machine".into(), "acpi=off".into()]);
        }
        let number = self.disks;
        self.disks += 1;
        let (file, settings) = split(disk);
        let file = existing(option, Path::new(file))?;
        let mut drive = OsString::from(format!("if=none,id=disk{number},format=raw"));
        if settings.windows(3).any(|window| window == b",ro") {
            drive.push(",readonly=on");
        }
        drive.push(",file=");
        drive.push(escaped(file.as_os_str()));
        self.qemu.extend([
            "-drive".into(),
            drive,
            "-device".into(),
            format!("virtio-blk-device,drive=disk{number}").into(),
        ]);
        let mut device = OsString::from(format!("/dev/vd{}", letter(number)));
        device.push(OsStr::from_bytes(settings));
        self.runner.extend([option.into(), device]);
        Ok(())
    }
}
