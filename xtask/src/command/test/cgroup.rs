//! A runner in the caller's cgroup, in the lab: the cgroup's limit also covers guest memory.

use anyhow::{Result, ensure};

use super::check::{Check, Context};
use super::inside::{self, RUNNER};
use crate::guest::devices::InLab;

/// Boots twice in one cgroup: the first time its limit is too low for what the guest writes, the second time it has none.
const SCRIPT: &str = r#"exec 2>/dev/null
cd /sys/fs/cgroup && echo +memory > cgroup.subtree_control && mkdir small || exit 1
for most in 40M max; do
    echo $most > small/memory.max
    "$@"
    echo "$? in $most"
    grep '^oom_kill ' small/memory.events
done
[ -z "$(cat small/cgroup.procs)" ] && [ $(cat small/memory.peak) -ge 50331648 ] && echo counted"#;

const SAID: &str = "137 in 40M
oom_kill 1
wrote
0 in max
oom_kill 1
counted
";

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("lab/cgroup", cgroup)]
}

fn cgroup(context: &Context<'_>) -> Result<()> {
    let program = "head -c 48m /dev/zero > /tmp/file && echo wrote";
    let more = [
        "--cgroup",
        "/sys/fs/cgroup/small",
        "--",
        "/bin/busybox",
        "sh",
        "-c",
        program,
    ];
    let words: Vec<&str> = RUNNER.split(' ').chain(more).collect();
    let said = inside::shell(context, &InLab::default(), SCRIPT, &words)?;
    ensure!(said == SAID, "{said:?} instead of {SAID:?}");
    Ok(())
}
