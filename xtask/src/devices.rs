//! The guest's devices: the runner's options, and what the lab needs to have them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::payload::existing;

/// Settings of a disk that follow its file.
const DISK_SETTINGS: [&[u8]; 2] = [b",ro", b",direct"];

/// Devices of the guest; each is absent unless asked for.
#[derive(Args, Default)]
pub(crate) struct DeviceOptions {
    /// A disk: /dev/vda, the next /dev/vdb; read-only with ,ro, past the page cache with ,direct
    #[arg(long, value_name = "FILE[,ro][,direct]")]
    disk: Vec<OsString>,
    /// A network card on a tap, which is made if it is not there, with the gateway's address
    #[arg(long, value_name = "tap=NAME[,ip=A.B.C.D/N][,gw=A.B.C.D]")]
    net: Vec<OsString>,
    /// The program's streams are a terminal, /dev/hvc0, on ours
    #[arg(long)]
    pub(crate) console: bool,
    /// Randomness from the host
    #[arg(long)]
    entropy: bool,
}

/// The lab's own hardware for a guest's devices, and the runner's options that name it.
#[derive(Default)]
pub(crate) struct InLab {
    /// Arguments of QEMU.
    pub(crate) qemu: Vec<OsString>,
    /// Arguments of the runner.
    pub(crate) runner: Vec<OsString>,
    /// Whether the program has a terminal.
    pub(crate) console: bool,
}

impl DeviceOptions {
    /// The runner's options on this machine.
    pub(crate) fn on_host(&self) -> Vec<OsString> {
        let mut options = Vec::new();
        for disk in &self.disk {
            options.extend(["--disk".into(), disk.clone()]);
        }
        options.extend(self.without_files());
        options
    }

    /// The options that mean the same on every machine.
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
        options
    }

    /// A disk of the guest is a disk of the lab, so that what is written arrives in the file here.
    pub(crate) fn in_lab(&self) -> Result<InLab> {
        let mut lab = InLab {
            runner: self.without_files(),
            qemu: Vec::new(),
            console: self.console,
        };
        if self.disk.is_empty() {
            return Ok(lab);
        }
        // Without ACPI, QEMU tells the lab's kernel of its devices on the command line.
        lab.qemu.extend(["-machine".into(), "acpi=off".into()]);
        for (number, disk) in self.disk.iter().enumerate() {
            let (file, settings) = split(disk);
            let file = existing("--disk", Path::new(file))?;
            let mut drive = OsString::from(format!("if=none,id=disk{number},format=raw"));
            if settings.windows(3).any(|window| window == b",ro") {
                drive.push(",readonly=on");
            }
            drive.push(",file=");
            drive.push(escaped(file.as_os_str()));
            lab.qemu.extend([
                "-drive".into(),
                drive,
                "-device".into(),
                format!("virtio-blk-device,drive=disk{number}").into(),
            ]);
            let mut device = OsString::from(format!("/dev/vd{}", letter(number)));
            device.push(OsStr::from_bytes(settings));
            lab.runner.extend(["--disk".into(), device]);
        }
        Ok(lab)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.disk.is_empty() && self.net.is_empty() && !self.console && !self.entropy
    }
}

/// A disk's file, and the settings behind it with their commas.
fn split(disk: &OsStr) -> (&OsStr, &[u8]) {
    let all = disk.as_bytes();
    let mut file = all;
    while let Some(rest) = DISK_SETTINGS
        .iter()
        .find_map(|setting| file.strip_suffix(*setting))
    {
        file = rest;
    }
    (OsStr::from_bytes(file), &all[file.len()..])
}

/// QEMU reads two commas as one that is no separator.
fn escaped(path: &OsStr) -> OsString {
    let mut bytes = Vec::new();
    for &byte in path.as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

/// The kernel's name for a disk by number: a, b, c ... (a machine has fewer than 26 devices).
fn letter(number: usize) -> char {
    char::from(b'a' + (number % 26) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_from_the_end() {
        for (text, file, settings) in [
            ("a.img", "a.img", ""),
            ("a,b.img,ro", "a,b.img", ",ro"),
            ("a.img,direct,ro", "a.img", ",direct,ro"),
        ] {
            let (found, rest) = split(OsStr::new(text));
            assert_eq!((found, rest), (OsStr::new(file), settings.as_bytes()));
        }
        assert_eq!(escaped(OsStr::new("a,b")), "a,,b");
    }
}
