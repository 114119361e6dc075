//! A console on a terminal, in the lab, with the runner in a jail: keys and the terminal's size reach the guest, and the
//! terminal is restored, however the run ends.

use anyhow::Result;

use super::check::{Check, Context};
use super::inside::{self, BUSYBOX, RUNNER};

/// In the guest. A new size may arrive any time after its signal, so the guest polls for it.
const SCRIPT: &str = r#"stty -echo; echo ready $(stty size); read line; echo "heard $line"
until [ "$(stty size)" = "40 120" ]; do :; done; echo resized; read line; exit 7"#;

/// The ways that a run ends: the program exits, a signal arrives, or the runner's escape keys are pressed.
const ENDS: [&str; 3] = ["normal", "killed", "keys"];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    ENDS.map(|end| {
        let name = format!("lab/devices/terminal, {end}");
        Check::new(name, move |context| terminal(context, end))
    })
    .into()
}

fn terminal(context: &Context<'_>, end: &'static str) -> Result<()> {
    let runner = RUNNER.split(' ').chain(["--console", "--jail", "/tmp"]);
    let program = ["--", BUSYBOX, "sh", "-c", SCRIPT];
    let words = ["terminal", end].into_iter().chain(runner).chain(program);
    inside::peer(context, words)?;
    Ok(())
}
