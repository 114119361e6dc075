//! Devices in whole boots, in the lab: many at once in few boots.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::command::Run;
use super::{Check, Context};

/// What the guest does with its disks, its network and its randomness; it prints a line for each.
const SCRIPT: &str = r#"set -e
mkdir /tmp/a /tmp/b
mount -t ext4 /dev/vda /tmp/a
mount -t ext4 -o ro /dev/vdb /tmp/b
cat /tmp/b/told
cp /tmp/b/told /tmp/a/copy
echo written > /tmp/a/new
umount /tmp/a /tmp/b
blkdiscard -o 62914560 -l 1048576 /dev/vda && echo discarded
if echo x 2>/dev/null > /dev/vdb; then echo wrote to a read-only disk; fi
ping -q -c 3 -s 20000 10.0.0.1 | grep received
cat /sys/class/misc/hw_random/rng_current
head -c 8 /dev/hwrng | wc -c"#;

const PRINTED: &str = "the host's words
discarded
3 packets transmitted, 3 packets received, 0% packet loss
virtio_rng.0
8
";

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("lab/devices/disks and network", disks_and_network),
        Check::new("lab/devices/console", console),
    ]
}

fn disks_and_network(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let told = dir.path().join("files");
    fs::create_dir(&told)?;
    fs::write(told.join("told"), "the host's words\n")?;
    // A comma in a name is nobody's separator.
    let (written, read) = (dir.path().join("a,1.img"), dir.path().join("b.img"));
    file_system(context, &written, None)?;
    file_system(context, &read, Some(&told))?;
    let before = fs::read(&read)?;
    let disks = [
        written.to_string_lossy().into_owned(),
        format!("{},ro", read.display()),
    ];
    lab(
        context,
        &[
            "--disk",
            &disks[0],
            "--disk",
            &disks[1],
            "--net",
            "tap=tap0,ip=10.0.0.2/24,gw=10.0.0.1",
            "--entropy",
        ],
        SCRIPT,
    )?
    .run(context)?
    .ended_with(0)?
    .printed(PRINTED)?;
    ensure!(fs::read(&read)? == before, "the read-only disk has changed");
    let written = written.to_string_lossy();
    Run::program(&["/sbin/e2fsck", "-fn", &written])
        .run(context)?
        .ended_with(0)?;
    for (file, text) in [("copy", "the host's words\n"), ("new", "written\n")] {
        Run::program(&["/sbin/debugfs", "-R", &format!("cat {file}"), &written])
            .run(context)?
            .printed(text)?;
    }
    Ok(())
}

/// Makes an image with an ext4 file system, and a directory's files in it.
fn file_system(context: &Context<'_>, image: &Path, files: Option<&Path>) -> Result<()> {
    let image = image.to_str().context("a path of ours")?;
    let mut words = vec!["/sbin/mkfs.ext4", "-q"];
    if let Some(files) = files {
        words.extend(["-d", files.to_str().context("a path of ours")?]);
    }
    words.extend([image, "64M"]);
    Run::program(&words).run(context)?.ended_with(0)?;
    Ok(())
}

/// The program has a terminal: what it is given is shown, and its end is a key.
fn console(context: &Context<'_>) -> Result<()> {
    let script = "tty; stty size; stty -echo; read line; echo \"heard $line\"; cat; exit 7";
    let ran = lab(context, &["--console"], script)?
        .stdin("one\ntwo\n")
        .run(context)?;
    ran.ended_with(7)?;
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim_end).collect();
    for line in ["/dev/hvc0", "25 80", "heard one", "two"] {
        ensure!(lines.contains(&line), "no {line:?} in {lines:?}");
    }
    Ok(())
}

fn lab(context: &Context<'_>, options: &[&str], script: &str) -> Result<Run> {
    let program = ["--quiet", "--", "/bin/busybox", "sh", "-c", script];
    Run::xtask(
        ["boot", "--on", "lab"]
            .into_iter()
            .chain(context.source.arguments())
            .chain(options.iter().copied())
            .chain(program),
    )
}
