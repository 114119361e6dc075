//! Runs a machine in QEMU that has the same ports as in the runner, so the same guest reports through them.
//!
//! Each output port is a debug console on a Unix socket, which a thread reads.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiffy_abi::port;
use xshell::{Shell, cmd};

use super::ended::{Ended, verdict};
use super::port::Port;

/// What to start.
pub(crate) struct Machine<'a> {
    /// Machine, processor and clock, as QEMU's arguments.
    pub(crate) hardware: &'a [&'a str],
    /// Devices, as QEMU's arguments.
    pub(crate) devices: &'a [OsString],
    /// The kernel, a vmlinux with a PVH entry.
    pub(crate) kernel: PathBuf,
    /// The initramfs.
    pub(crate) initramfs: PathBuf,
    /// The kernel's command line.
    pub(crate) command_line: String,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Whether a reset restarts the machine with the same memory; otherwise it ends it.
    pub(crate) restarts: bool,
    /// How long QEMU may run, in real time.
    pub(crate) timeout: Duration,
    /// Where the program's standard output goes.
    pub(crate) stdout: Box<dyn Write + Send>,
}

/// Runs a machine to its end, with its sockets in `scratch`.
pub(crate) fn run(mut machine: Machine<'_>, scratch: &Path) -> Result<Ended> {
    let began = Instant::now();
    let stdout = std::mem::replace(&mut machine.stdout, Box::new(io::sink()));
    let stderr = Box::new(io::stderr());
    let ports = [
        Port::passed_on(scratch, "stdout", port::STDOUT, stdout)?,
        Port::passed_on(scratch, "stderr", port::STDERR, stderr)?,
    ];
    let report = Port::kept(scratch, "report", port::REPORT)?;
    let ready = Port::kept(scratch, "ready", port::READY)?;
    // QEMU's UART drops bytes that a socket does not take immediately; a file takes everything.
    let console = scratch.join("console");
    let all = || ports.iter().chain([&report, &ready]);

    let mut qemu = command(&machine, &console, all())?;
    let child = qemu
        .spawn()
        .context("starting qemu-system-x86_64; `--install` installs it")?;
    let (errors, timed_out) = wait(child, machine.timeout)?;
    for port in all() {
        port.release();
    }
    let [stdout, stderr] = ports;
    stdout.finish();
    stderr.finish();
    let (rung, report) = (ready.finish(), report.finish());
    // If QEMU did not start, there is no file.
    let console = fs::read(&console).unwrap_or_default();
    Ok(Ended {
        ready: (rung.bytes.first() == Some(&port::READY_BYTE))
            .then(|| rung.first.map_or(Duration::ZERO, |at| at - began)),
        verdict: verdict(&report.bytes)?,
        timed_out,
        said: format!("{}{}", String::from_utf8_lossy(&console), errors)
            .trim()
            .to_owned(),
    })
}

fn command<'a>(
    machine: &Machine<'_>,
    console: &Path,
    ports: impl Iterator<Item = &'a Port>,
) -> Result<Command> {
    let sh = Shell::new()?;
    let (hardware, devices) = (machine.hardware, machine.devices);
    let Machine {
        kernel,
        initramfs,
        command_line,
        ..
    } = machine;
    let memory = format!("{}M", machine.memory_mib);
    let mut args = vec![
        "-chardev".into(),
        format!("file,id=console,path={}", console.display()),
        "-serial".into(),
        "chardev:console".into(),
    ];
    for port in ports {
        let (name, socket) = (port.name, port.socket.display());
        args.extend(["-chardev".into(), format!("socket,id={name},path={socket}")]);
        let number = port.number;
        args.extend([
            "-device".into(),
            format!("isa-debugcon,iobase={number:#x},chardev={name}"),
        ]);
    }
    let reset = if machine.restarts {
        "reset"
    } else {
        "shutdown"
    };
    let exit = format!("isa-debug-exit,iobase={:#x},iosize=1", port::EXIT);
    let mut command: Command = cmd!(
        sh,
        "qemu-system-x86_64 {hardware...} {devices...} -m {memory} -nodefaults -no-user-config -display none -action reboot={reset}
         -kernel {kernel} -initrd {initramfs} -append {command_line} -device {exit} {args...}"
    )
    .quiet()
    .into();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Ok(command)
}

/// Waits for QEMU to close its standard error. Returns what it wrote there, and whether it was killed at the timeout.
fn wait(mut child: Child, timeout: Duration) -> Result<(String, bool)> {
    let (sender, ended) = mpsc::channel();
    let mut stderr = child.stderr.take().context("QEMU without its stderr")?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // On an error, show what was read before it.
        let _ = stderr.read_to_end(&mut bytes);
        let _ = sender.send(());
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let timed_out = ended.recv_timeout(timeout).is_err();
    if timed_out {
        child.kill().context("stopping QEMU")?;
    }
    child.wait().context("waiting for QEMU")?;
    Ok((reader.join().unwrap_or_default(), timed_out))
}
