//! A runner that is killed in the lab while its guest writes: what the guest had synced is complete, and the journal repairs
//! the rest.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::check::{Check, Context};
use super::command::Run;
use super::devices::{file_system, lab};
use super::inside::{self, RUNNER};
use crate::guest::devices::InLab;

/// In the guest: syncs one file with fsync and one with sync, then writes without end.
const GUEST: &str = r#"mkdir /tmp/a && mount -t ext4 /dev/vda /tmp/a && cd /tmp/a
dd if=/bin/busybox of=one bs=64k conv=fsync 2>/dev/null || exit 1
cp /bin/busybox two && sync && echo synced
while cp /bin/busybox torn && mv torn moved && mkdir -p a/b/c && rm -r a; do :; done"#;

/// Beside the guest: kills the runner when the guest says that it has synced.
const LAB: &str = r#"mkfifo /tmp/said
$2 "$3" "$4" -- /bin/busybox sh -c "$1" >/tmp/said &
read said </tmp/said
kill -KILL $!
{ wait $!; } 2>/dev/null
echo "$said, ended with $?""#;

/// In a second guest, which finds the disk as the first one left it.
const AGAIN: &str = r#"mkdir /tmp/a && mount -t ext4 /dev/vda /tmp/a && cd /tmp/a
cmp one /bin/busybox && cmp two /bin/busybox && cd / && umount /tmp/a && echo whole"#;

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("lab/devices/killed", killed)]
}

fn killed(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let image = dir.path().join("left.img");
    file_system(context, &image, None)?;
    let mut disks = InLab::default();
    disks.add_disk("--disk", image.as_os_str())?;
    let mut arguments = vec![GUEST, RUNNER];
    arguments.extend(disks.runner.iter().filter_map(|word| word.to_str()));
    let said = inside::shell(context, &disks, LAB, &arguments)?;
    ensure!(said == "synced, ended with 137\n", "it said {said:?}");

    let left = Run::program(&["/sbin/dumpe2fs", "-h", text(&image)?]).run(context)?;
    ensure!(left.stdout.contains("needs_recovery"), "{}", left.stdout);
    // The kernel replays the journal of one copy, e2fsck that of the other.
    let mounted = dir.path().join("mounted.img");
    fs::copy(&image, &mounted).context("copying the disk")?;
    let disk = ["--disk", text(&mounted)?];
    lab(context, &disk, AGAIN)?
        .run(context)?
        .ended_with(0)?
        .printed("whole\n")?;
    let repaired = Run::program(&["/sbin/e2fsck", "-p", text(&image)?]).run(context)?;
    ensure!(matches!(repaired.status, Some(0 | 1)), "{repaired:?}");
    for image in [&image, &mounted] {
        Run::program(&["/sbin/e2fsck", "-fn", text(image)?])
            .run(context)?
            .ended_with(0)?;
    }
    for file in ["one", "two"] {
        let copy = dir.path().join(file);
        let dump = format!("dump {file} {}", text(&copy)?);
        Run::program(&["/sbin/debugfs", "-R", &dump, text(&image)?])
            .run(context)?
            .ended_with(0)?;
        ensure!(
            fs::read(copy)? == fs::read("/bin/busybox")?,
            "{file} is not whole"
        );
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of ours")
}
