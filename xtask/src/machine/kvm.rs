//! What KVM this machine has, and where the runner runs.

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::base::layout::Layout;
use crate::guest::userland;

/// Where the runner runs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// On this machine's KVM if it can be used, else in the lab
    Auto,
    /// On this machine's KVM
    Host,
    /// In the lab, a machine with KVM that QEMU emulates; measurements are repeatable
    Lab,
}

/// The kind of KVM that the lab has.
pub(crate) const LAB: &str = "lab";

/// What `jiffy probe --json` prints.
#[derive(Deserialize)]
pub(crate) struct Probe {
    /// hardware, software, lab, or none.
    pub(crate) kind: String,
    /// Why there is none.
    pub(crate) reason: String,
}

/// Asks the runner what KVM this machine has.
pub(crate) fn probe(layout: &Layout) -> Result<Probe> {
    let runner = userland::runner(layout)?;
    let sh = Shell::new()?;
    let said = cmd!(sh, "{runner} probe --json").quiet().read()?;
    serde_json::from_str(&said).with_context(|| format!("reading the runner's probe {said:?}"))
}

/// The kind of KVM to measure on: the lab's, unless this machine's is hardware or was asked for.
pub(crate) fn measured_on(layout: &Layout, on: On) -> Result<String> {
    if on == On::Lab {
        return Ok(LAB.to_owned());
    }
    let kind = probe(layout)?.kind;
    Ok(match on {
        On::Auto if kind != "hardware" => LAB.to_owned(),
        _ => kind,
    })
}
