//! What KVM this machine has, and where the runner runs.

use anyhow::{Context, Result};
use clap::ValueEnum;
use jiffy::report::Kind;
use serde::Deserialize;
use serde_json::Value;
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

/// What KVM this machine has.
pub(crate) struct Probe {
    /// Its kind; none if it cannot be used.
    pub(crate) kind: Option<Kind>,
    /// Why it cannot be used.
    pub(crate) reason: String,
}

/// What `jiffy probe --json` prints.
#[derive(Deserialize)]
struct Printed {
    /// A [`Kind`], or `none`.
    kind: Value,
    reason: String,
}

impl Probe {
    fn parse(said: &str) -> serde_json::Result<Self> {
        let Printed { kind, reason } = serde_json::from_str(said)?;
        let kind = match kind == "none" {
            true => None,
            false => Some(serde_json::from_value(kind)?),
        };
        Ok(Self { kind, reason })
    }
}

/// Asks the runner what KVM this machine has.
pub(crate) fn probe(layout: &Layout) -> Result<Probe> {
    let runner = userland::runner(layout)?;
    let sh = Shell::new()?;
    // Its status only says again whether there is a kind.
    let said = cmd!(sh, "{runner} probe --json")
        .quiet()
        .ignore_status()
        .read()?;
    Probe::parse(&said).with_context(|| format!("reading the runner's probe {said:?}"))
}

/// The kind of KVM to measure on: the lab's, unless this machine's is hardware or was asked for. None if this machine's was
/// asked for and cannot be used.
pub(crate) fn measured_on(layout: &Layout, on: On) -> Result<Option<Kind>> {
    if on == On::Lab {
        return Ok(Some(Kind::Lab));
    }
    let kind = probe(layout)?.kind;
    Ok(match on {
        On::Auto if kind != Some(Kind::Hardware) => Some(Kind::Lab),
        _ => kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_a_kind_or_a_reason() {
        let kind = |text| Probe::parse(&format!(r#"{{"kind":"{text}","reason":""}}"#));
        assert_eq!(kind("software").unwrap().kind, Some(Kind::Software));
        assert_eq!(kind("none").unwrap().kind, None);
        assert!(kind("soft").is_err());
    }
}
