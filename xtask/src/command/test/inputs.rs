//! Bad input gives one clear line and the documented exit status, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use anyhow::{Context as _, Result, ensure};

use super::check::{Check, Context};
use super::command::Run;

/// Arguments, exit status, and text that the line must contain.
const TABLE: [(&[&str], i32, &str); 23] = [
    (&["boot", "--profile", "mni"], 2, "there is no profile mni"),
    (&["boot", "--no-such-option"], 2, "unexpected argument"),
    (&["boot", "--timeout", "0"], 2, "above 0"),
    (&["boot", "--memory", "lots"], 2, "--memory <SIZE>"),
    (&["boot", "--memory", "1K"], 2, "such as 128M"),
    (&["boot", "--pages", "1g"], 2, "--pages <KIND>"),
    (&["boot", "--entry", "bios"], 2, "--entry <PROTOCOL>"),
    (&["trace", "--pages", "1g"], 2, "auto, 4k, thp or 2m"),
    (&["trace", "--timeout", "soon"], 2, "--timeout <SECONDS>"),
    (&["prove", "--memory", "lots"], 2, "such as 128M"),
    (&["boot", "--kernel", "no/such/file"], 2, "no/such/file"),
    (&["boot", "--initrd", "no/such/file"], 2, "no/such/file"),
    (
        &["boot", "--on", "lab", "--", "/no/such/program"],
        2,
        "no program /no/such/program",
    ),
    (
        &["boot", "--on", "lab", "--disk", "no/such/disk,ro"],
        2,
        "no/such/disk",
    ),
    (
        &["boot", "--on", "lab", "--", "no-such-program"],
        2,
        "no-such-program",
    ),
    (
        &["boot", "--on", "lab", "--", "/etc/passwd"],
        2,
        "not an executable",
    ),
    (
        &["boot", "--on", "lab", "--ready-fd", "1"],
        2,
        "--ready-fd: the lab's descriptors",
    ),
    (
        &["bench", "--suite", "vmm", "--vmm-path", "qemu=/bin/true"],
        2,
        "qemu is not one of firecracker, cloud-hypervisor, crosvm",
    ),
    (
        &[
            "bench",
            "--suite",
            "vmm",
            "--on",
            "lab",
            "--vmm-path",
            "crosvm=no/such/vmm",
        ],
        2,
        "no/such/vmm",
    ),
    (
        &["bench", "--vmm-path", "crosvm=/bin/true"],
        2,
        "--suite vmm",
    ),
    (
        &["build", "--kernel-source", "no/such/tree"],
        2,
        "no/such/tree",
    ),
    (
        &["build", "--kernel-source", "http://127.0.0.1/linux.tar.xz"],
        2,
        "--sha256",
    ),
    (
        &["patch", "apply", "--tree", "xtask"],
        2,
        "not a kernel source tree",
    ),
];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = TABLE
        .iter()
        .map(|(args, status, line)| {
            Check::new(format!("input/{}", args.join(" ")), move |context| {
                let ran = Run::xtask(args.iter())?.run(context)?;
                ran.ended_with(*status)?.printed("")?.complained(line)?;
                Ok(())
            })
        })
        .collect();
    checks.push(Check::new("input/wrong sum", wrong_sum));
    checks.push(Check::new("input/compiler missing", no_compiler));
    checks
}

/// A tarball with a wrong checksum, from a local server: the error names both checksums, and nothing is kept.
fn wrong_sum(context: &Context<'_>) -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").context("listening on loopback")?;
    let url = format!("http://{}/linux.tar.xz", server.local_addr()?);
    let serving = thread::spawn(move || -> std::io::Result<()> {
        let (mut client, _) = server.accept()?;
        let request = BufReader::new(client.try_clone()?);
        for line in request.lines() {
            if line?.is_empty() {
                break;
            }
        }
        client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nabc\n")
    });
    let cache = tempfile::tempdir()?;
    let wrong = "0".repeat(64);
    let home = format!("XDG_CACHE_HOME={}", cache.path().display());
    let xtask = std::env::current_exe()?;
    let xtask = xtask.to_str().context("our own path")?;
    Run::program(&[
        "env",
        &home,
        xtask,
        "build",
        "--kernel-source",
        &url,
        "--sha256",
        &wrong,
    ])
    .run(context)?
    .ended_with(1)?
    .complained(&wrong)?
    .complained("edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb")?;
    serving
        .join()
        .map_err(|_| anyhow::anyhow!("the server failed"))?
        .context("serving")?;
    for kind in ["downloads", "tmp", "trees"] {
        let dir = cache.path().join("jiffy").join(kind);
        let left = fs::read_dir(&dir).map_or(0, Iterator::count);
        ensure!(left == 0, "{} is not empty", dir.display());
    }
    Ok(())
}

/// Without --install, missing packages are listed with the command that installs them.
fn no_compiler(context: &Context<'_>) -> Result<()> {
    let xtask = std::env::current_exe()?;
    let xtask = xtask.to_str().context("our own path")?;
    let empty = tempfile::tempdir()?;
    let path = format!("PATH={}", empty.path().display());
    Run::program(&["/usr/bin/env", &path, xtask, "build", "--profile", "min"])
        .run(context)?
        .ended_with(1)?
        .complained("gcc")?;
    Ok(())
}
