//! Counts the instructions of a boot exactly: QEMU runs the kernel without KVM, with an instruction clock.
//!
//! QEMU's `pvpanic` device is at the doorbell's port and stops the machine when the guest writes there (docs/specs/pvpanic.rst
//! of QEMU: bit 0 of the byte, which the doorbell sets). QMP's `query-replay` then returns the number of instructions.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiffy_abi::port;
use serde_json::Value;
use xshell::{Shell, cmd};

/// A running QEMU, which is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail harmlessly if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What boots.
pub(crate) struct Counted<'a> {
    /// Machine, processor and clock, as QEMU's arguments.
    pub(crate) hardware: &'a [&'a str],
    /// The kernel, a vmlinux with a PVH entry.
    pub(crate) kernel: &'a Path,
    /// The initramfs.
    pub(crate) initramfs: &'a Path,
    /// The kernel's command line.
    pub(crate) command_line: &'a str,
    /// Seed of the processor's random numbers, which the length of a boot depends on.
    pub(crate) seed: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// How long it may take, in real time.
    pub(crate) timeout: Duration,
}

/// Boots a kernel until PID 1 rings the doorbell. Returns the number of instructions, including the firmware's few thousand.
///
/// # Errors
/// If the guest does not ring within the timeout, or ends before.
pub(crate) fn until_ready(boot: &Counted<'_>) -> Result<u64> {
    let mut qemu = start(boot)?;
    let output = qemu.0.stdout.take().context("QEMU without its stdout")?;
    let mut input = qemu.0.stdin.take().context("QEMU without its stdin")?;
    let (sender, lines) = mpsc::channel();
    // Ends when QEMU ends or nobody receives any more.
    thread::spawn(move || {
        BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let deadline = std::time::Instant::now() + boot.timeout;
    let mut say =
        |command: &str| writeln!(input, r#"{{"execute": "{command}"}}"#).context("asking QEMU");
    say("qmp_capabilities")?;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let Ok(line) = lines.recv_timeout(left) else {
            bail!("the guest did not get ready in time under QEMU");
        };
        let said: Value =
            serde_json::from_str(&line).with_context(|| format!("reading QEMU's {line:?}"))?;
        if said["event"] == "STOP" {
            say("query-replay")?;
        } else if said["event"] == "SHUTDOWN" {
            bail!("the guest ended under QEMU before it was ready");
        } else if let Some(count) = said["return"]["icount"].as_u64() {
            return Ok(count);
        }
    }
}

fn start(boot: &Counted<'_>) -> Result<Running> {
    let sh = Shell::new()?;
    let Counted {
        kernel,
        initramfs,
        command_line,
        ..
    } = boot;
    let hardware = boot.hardware;
    let seed = boot.seed.to_string();
    let memory = format!("{}M", boot.memory_mib);
    let bell = format!("pvpanic,ioport={:#x}", port::READY);
    let mut command: Command = cmd!(
        sh,
        "qemu-system-x86_64 {hardware...} -m {memory} -nodefaults -no-user-config -display none -seed {seed} -no-reboot
         -action panic=pause -qmp stdio -device {bell} -kernel {kernel} -initrd {initramfs} -append {command_line}"
    )
    .quiet()
    .into();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Running)
        .context("starting qemu-system-x86_64; `--install` installs it")
}
