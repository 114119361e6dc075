//! Sockets between guest and host, in whole boots: both ask for connections, and much goes both ways at once.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::command::Run;
use super::{Check, Context};
use crate::build::{self, BuildOptions};
use crate::cache::Cache;
use crate::guest::judge;
use crate::lab::{self, Job};
use crate::payload::read;
use crate::ui::Ui;
use crate::userland;

/// How many bytes each connection takes there and back. Software KVM copies three in a microsecond, and often.
const IN_LAB: usize = 8 << 20;
const ON_HOST: usize = 1 << 20;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("lab/devices/vsock", in_lab),
        Check::new("host/vsock", on_host).on_kvm(),
    ]
}

fn on_host(context: &Context<'_>) -> Result<()> {
    let peer = userland::peer(context.layout)?;
    let peer = peer.to_str().context("a path of ours")?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("vsock");
    let path = path.to_str().context("a path of ours")?;
    let (bytes, sockets) = (ON_HOST.to_string(), format!("uds={path}"));
    let boot = [
        "boot",
        "--on",
        "host",
        "--timeout",
        "300",
        "--quiet",
        "--vsock",
        &sockets,
    ];
    let program = ["--", peer, "echo"];
    let boot = Run::xtask(
        boot.into_iter()
            .chain(context.source.arguments())
            .chain(program),
    )?;
    boot.through(&[peer, "talk", path, &bytes])
        .timeout(400)
        .run(context)?
        .ended_with(0)?;
    Ok(())
}

/// The runner's sockets are the lab's, and so both ends are there.
fn in_lab(context: &Context<'_>) -> Result<()> {
    let (layout, ui) = (context.layout, Ui::new(true));
    let options = BuildOptions {
        profile: "default".to_owned(),
        source: context.source.clone(),
        jobs: None,
        install: false,
        quiet: true,
        json: false,
    };
    let guest = build::build(layout, &ui, &options, false)?;
    let initramfs = guest.initramfs.context("the guest has no initramfs")?;
    let peer = userland::peer(layout)?;
    let runner = userland::runner(layout)?;
    let file =
        |name: &str, path: &Path| Ok::<_, anyhow::Error>((format!("lab/{name}"), read(path)?));
    let run = "/lab/jiffy run --quiet --kernel /lab/vmlinux --initrd /lab/initramfs --vsock uds=/lab/vsock -- /lab/peer echo";
    let bytes = IN_LAB.to_string();
    let talk = ["talk", "/lab/vsock", &bytes];
    let job = Job {
        arguments: talk
            .into_iter()
            .chain(run.split(' '))
            .map(Into::into)
            .collect(),
        files: vec![
            file("jiffy", &runner)?,
            file("peer", &peer)?,
            file("vmlinux", &guest.vmlinux)?,
            file("initramfs", &initramfs)?,
        ],
        program: peer,
        devices: Vec::new(),
        memory_mib: 256,
        timeout: Duration::from_secs(60),
        stdout: Box::new(io::stdout()),
    };
    let ended = lab::execute(layout, &ui, &Cache::open()?, &options, job)?;
    let (outcome, status) = judge(&ended, true)?;
    ensure!(status == 0, "{outcome} with {status}");
    Ok(())
}
