//! Command lines of our runner and QEMU, and what can be observed of a VMM.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use jiffy_abi::port;

use super::stopwatch::{END, MEMORY_MIB, Word};

/// QEMU's program. Debian's qemu-system-x86_64-microvm has no debug console.
pub(super) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// A microvm with as few devices as possible. The kernel's time comes from KVM's clock.
const MICROVM: &str =
    "microvm,accel=kvm,acpi=off,pic=off,pit=off,rtc=off,isa-serial=off,usb=off,pcie=off";

/// QEMU's exit status when PID 1 writes 0 to `isa-debug-exit`.
const QEMU_STATUS: i32 = 1;

/// The kernel's command line in other VMMs. It lacks the TSC's frequency, which the kernel gets from KVM, and
/// `memblock=zeroed`, since firmware and resets leave data in memory there; ours has `tsc=reliable` on this machine, too.
pub(super) const COMMAND_LINE: &str = "panic=-1 reboot=t tsc=reliable";

/// What can be observed of a VMM from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The doorbell, and its exit with this status.
    Both(i32),
    /// The doorbell only; the VMM is killed then.
    Ready,
    /// Its exit only, with this status.
    End(i32),
}

/// A VMM and its command.
pub(super) struct Vmm {
    pub(super) name: &'static str,
    pub(super) command: Vec<Word>,
    pub(super) seen: Seen,
}

impl Vmm {
    /// The command, with an option for the stopwatch to kill a VMM that does not exit by itself.
    pub(super) fn ended(self) -> Vec<Word> {
        let end = (self.seen == Seen::Ready).then(|| Word::text(END));
        end.into_iter().chain(self.command).collect()
    }
}

/// The guest that all VMMs boot.
pub(super) struct Guest<'a> {
    /// Its kernel.
    pub(super) vmlinux: &'a Path,
    /// Its initramfs.
    pub(super) cpio: &'a Path,
    /// A directory for configuration files of VMMs.
    pub(super) dir: &'a Path,
    /// Whether it is booted in the lab.
    pub(super) in_lab: bool,
}

impl Guest<'_> {
    pub(super) fn kernel(&self) -> Word {
        Word::file("vmlinux", self.vmlinux.to_owned())
    }

    pub(super) fn initramfs(&self) -> Word {
        Word::file("initramfs.cpio", self.cpio.to_owned())
    }

    /// Paths of the kernel and the initramfs where they are booted.
    pub(super) fn paths(&self) -> Result<[String; 2]> {
        let text = |word: Word| {
            let path = word.there(self.in_lab).into_string();
            path.map_err(|path| anyhow!("{} is no UTF-8", path.display()))
        };
        Ok([text(self.kernel())?, text(self.initramfs())?])
    }
}

/// Our runner.
pub(super) fn ours(runner: PathBuf, guest: &Guest<'_>) -> Vmm {
    let mut command = vec![Word::file("jiffy", runner)];
    command.extend(["run", "--quiet", "--ready-fd", "1", "--kernel"].map(Word::text));
    command.extend([guest.kernel(), Word::text("--initrd"), guest.initramfs()]);
    Vmm {
        name: "jiffy",
        command,
        seen: Seen::Both(0),
    }
}

/// QEMU's microvm.
pub(super) fn qemu(program: &Path, guest: &Guest<'_>) -> Vmm {
    let console = format!("isa-debugcon,iobase={:#x},chardev=ready", port::READY);
    let exit = format!("isa-debug-exit,iobase={:#x},iosize=1", port::EXIT);
    let memory = format!("{MEMORY_MIB}M");
    let mut command = vec![Word::text(program)];
    command.extend(["-M", MICROVM, "-cpu", "host", "-m", &memory].map(Word::text));
    let plain = "-nodefaults -no-user-config -display none -no-reboot";
    command.extend(plain.split(' ').map(Word::text));
    if guest.in_lab {
        command.extend(["-L", "/lab/qemu"].map(Word::text));
    }
    command.extend(["-chardev", "stdio,id=ready,signal=off"].map(Word::text));
    command.extend(["-device", &console, "-device", &exit].map(Word::text));
    command.extend(["-append", COMMAND_LINE, "-kernel"].map(Word::text));
    command.extend([guest.kernel(), Word::text("-initrd"), guest.initramfs()]);
    Vmm {
        name: "qemu microvm",
        command,
        seen: Seen::Both(QEMU_STATUS),
    }
}
