//! The user's own VMMs: how to boot our kernel in each, and what can be observed.
//!
//! The guest rings the doorbell by writing a byte to a port, which two of them can forward to their standard output. Then PID 1
//! restarts the guest by a triple fault. Firecracker exits then; the others start again or do not report how they
//! end, so they are killed when the guest is ready.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use jiffy_abi::port;
use serde_json::json;

use super::commands::{COMMAND_LINE, Guest, Seen, Vmm};
use super::stopwatch::{MEMORY_MIB, Word};
use crate::base::files::{existing, write};

/// A supported VMM. kvmtool is not, since it boots bzImages only, nor is libkrun, which is a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    Firecracker,
    CloudHypervisor,
    Crosvm,
}

/// A VMM on the user's machine.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    name: Name,
    file: PathBuf,
}

/// Reads `NAME=FILE`.
pub(crate) fn parse(text: &str) -> Result<Other, String> {
    let (name, file) = text.split_once('=').ok_or("give NAME=FILE")?;
    let names = Name::value_variants()
        .iter()
        .filter_map(ValueEnum::to_possible_value);
    let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
    let name = Name::from_str(name, false)
        .map_err(|_| format!("{name} is not one of {}", names.join(", ")))?;
    Ok(Other {
        name,
        file: file.into(),
    })
}

impl Other {
    /// Finds its program.
    pub(super) fn program(&self) -> Result<PathBuf> {
        existing("--vmm-path", &self.file)
    }

    /// Its command for this guest.
    pub(super) fn vmm(&self, program: PathBuf, guest: &Guest<'_>) -> Result<Vmm> {
        let program = Word::text(program);
        let (name, seen, words) = match self.name {
            Name::Firecracker => ("firecracker", Seen::End(0), firecracker(guest)?),
            Name::CloudHypervisor => ("cloud-hypervisor", Seen::Ready, cloud_hypervisor(guest)),
            Name::Crosvm => ("crosvm", Seen::Ready, crosvm(guest)),
        };
        Ok(Vmm {
            name,
            command: [program].into_iter().chain(words).collect(),
            seen,
        })
    }
}

/// Firecracker reads everything from a file instead of its API (docs/getting-started.md of its sources).
fn firecracker(guest: &Guest<'_>) -> Result<Vec<Word>> {
    let [kernel, initramfs] = guest.paths()?;
    let config = json!({
        "boot-source": {"kernel_image_path": kernel, "initrd_path": initramfs, "boot_args": COMMAND_LINE},
        "drives": [],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": MEMORY_MIB},
    });
    let file = guest.dir.join("firecracker.json");
    write(&file, config.to_string().as_bytes())?;
    let file = fs::canonicalize(file).context("finding Firecracker's configuration")?;
    let mut words: Vec<Word> = ["--no-api", "--level", "Error", "--config-file"]
        .map(Word::text)
        .into();
    words.push(Word::file("firecracker.json", file));
    Ok(words)
}

/// cloud-hypervisor has a debug console, whose port can be chosen since version 38.
fn cloud_hypervisor(guest: &Guest<'_>) -> Vec<Word> {
    let console = format!("tty,iobase={:#x}", port::READY);
    let memory = format!("size={MEMORY_MIB}M");
    let mut words: Vec<Word> = [
        "--cpus",
        "boot=1",
        "--memory",
        &memory,
        "--debug-console",
        &console,
    ]
    .map(Word::text)
    .into();
    words.extend("--console off --serial off".split(' ').map(Word::text));
    words.extend(["--cmdline", COMMAND_LINE, "--kernel"].map(Word::text));
    words.extend([guest.kernel(), Word::text("--initramfs"), guest.initramfs()]);
    words
}

/// A serial port of crosvm's can be a debug console at any port. Its sandbox is off, since that needs directories.
fn crosvm(guest: &Guest<'_>) -> Vec<Word> {
    let console = format!(
        "type=stdout,hardware=debugcon,debugcon_port={}",
        port::READY
    );
    let memory = MEMORY_MIB.to_string();
    let mut words: Vec<Word> = ["--log-level", "error", "run", "--disable-sandbox"]
        .map(Word::text)
        .into();
    words.extend(["--cpus", "1", "--mem", &memory, "--serial", &console].map(Word::text));
    words.extend(["--params", COMMAND_LINE, "--initrd"].map(Word::text));
    words.extend([guest.initramfs(), guest.kernel()]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_is_no_vmm_with_a_file_is_refused() {
        for text in [
            "",
            "crosvm",
            "=crosvm",
            "qemu=/bin/true",
            "Crosvm=/bin/true",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let other = parse("cloud-hypervisor=/a=b").unwrap();
        assert_eq!(other.name, Name::CloudHypervisor);
        assert_eq!(other.file, PathBuf::from("/a=b"));
    }

    #[test]
    fn commands_are_what_each_takes() {
        let dir = tempfile::tempdir().unwrap();
        let guest = Guest {
            vmlinux: "/there/vmlinux".as_ref(),
            cpio: "/there/cpio".as_ref(),
            dir: dir.path(),
            in_lab: true,
        };
        let mut lines = String::new();
        for name in Name::value_variants() {
            let other = Other {
                name: *name,
                file: PathBuf::new(),
            };
            let words = other.vmm("/vmm".into(), &guest).unwrap().command;
            let words: Vec<_> = words.iter().map(|word| word.there(true)).collect();
            lines += &words.join(" ".as_ref()).into_string().unwrap();
            lines += "\n";
        }
        lines += &fs::read_to_string(dir.path().join("firecracker.json")).unwrap();
        expect![[r#"
            /vmm --no-api --level Error --config-file /lab/firecracker.json
            /vmm --cpus boot=1 --memory size=128M --debug-console tty,iobase=0xa00 --console off --serial off --cmdline panic=-1 reboot=t tsc=reliable --kernel /lab/vmlinux --initramfs /lab/initramfs.cpio
            /vmm --log-level error run --disable-sandbox --cpus 1 --mem 128 --serial type=stdout,hardware=debugcon,debugcon_port=2560 --params panic=-1 reboot=t tsc=reliable --initrd /lab/initramfs.cpio /lab/vmlinux
            {"boot-source":{"boot_args":"panic=-1 reboot=t tsc=reliable","initrd_path":"/lab/initramfs.cpio","kernel_image_path":"/lab/vmlinux"},"drives":[],"machine-config":{"mem_size_mib":128,"vcpu_count":1}}"#]].assert_eq(&lines);
    }
}
