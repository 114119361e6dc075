//! Sockets between guest and host, in whole boots: both sides connect, and large transfers go both ways at once.

use anyhow::{Context as _, Result};

use super::check::{Check, Context};
use super::command::Run;
use super::inside::{self, PEER, RUNNER};
use crate::guest::devices::InLab;
use crate::guest::userland;

/// Bytes that each connection carries in each direction. Software KVM copies only three per microsecond, several times over.
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

/// Both ends run in the lab, where the runner's sockets are. The second runner is in a jail, where it is the user nobody and
/// must still be able to connect to sockets and to remove them.
fn in_lab(context: &Context<'_>) -> Result<()> {
    let talk = format!("talk /lab/vsock {IN_LAB} {RUNNER} --vsock uds=/lab/vsock -- {PEER} echo");
    inside::peer(context, talk.split(' '))?;
    let jailed = format!(
        "{PEER} talk /tmp/jail/vsock {ON_HOST} {RUNNER} --jail /tmp/jail --vsock uds=/tmp/jail/vsock -- {PEER} echo"
    );
    let words: Vec<&str> = jailed.split(' ').collect();
    let script = r#"mkdir -m 777 /tmp/jail && umask 0 && exec "$@""#;
    inside::shell(context, &InLab::default(), script, &words)?;
    Ok(())
}
