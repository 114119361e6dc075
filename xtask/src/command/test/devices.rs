//! Devices in whole boots, in the lab. Few boots test many devices each.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::check::{Check, Context};
use super::command::Run;
use super::inside::{self, RUNNER};
use crate::guest::devices::InLab;

/// The guest's use of its disks, network and random numbers. It prints a line for each.
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
        Check::new("lab/devices/disks and network", |context| {
            disks_and_network(context, false)
        }),
        Check::new("lab/devices/in a jail", |context| {
            disks_and_network(context, true)
        }),
        Check::new("lab/devices/console", console),
        Check::new("lab/devices/balloon", balloon),
        Check::new("lab/devices/root", root),
        Check::new("lab/smp", processors),
    ]
}

fn disks_and_network(context: &Context<'_>, jail: bool) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let told = dir.path().join("files");
    fs::create_dir(&told)?;
    fs::write(told.join("told"), "the host's words\n")?;
    // A comma in a file's name must not be taken for a separator.
    let (written, read) = (dir.path().join("a,1.img"), dir.path().join("b.img"));
    file_system(context, &written, None)?;
    file_system(context, &read, Some(&told))?;
    let before = fs::read(&read)?;
    let disks = [
        written.to_string_lossy().into_owned(),
        format!("{},ro", read.display()),
    ];
    let others = ["--net", "tap=tap0,ip=10.0.0.2/24,gw=10.0.0.1", "--entropy"];
    if jail {
        let mut lab = InLab::default();
        for disk in &disks {
            lab.add_disk("--disk", OsStr::new(disk))?;
        }
        let disks = lab.runner.iter().filter_map(|word| word.to_str());
        let words = RUNNER.split(' ').chain(disks).chain(others);
        let program = ["--jail", "/tmp", "--", "/bin/busybox", "sh", "-c", SCRIPT];
        let words: Vec<&str> = words.chain(program).collect();
        let said = inside::shell(context, &lab, r#""$@""#, &words)?;
        ensure!(said == PRINTED, "{said:?} instead of {PRINTED:?}");
    } else {
        let disks = ["--disk", &disks[0], "--disk", &disks[1]];
        lab(context, &[&disks[..], &others].concat(), SCRIPT)?
            .run(context)?
            .ended_with(0)?
            .printed(PRINTED)?;
    }
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

/// Makes an ext4 image with a directory's files in it.
pub(crate) fn file_system(context: &Context<'_>, image: &Path, files: Option<&Path>) -> Result<()> {
    let image = image.to_str().context("a path of ours")?;
    let mut words = vec!["/sbin/mkfs.ext4", "-q"];
    if let Some(files) = files {
        words.extend(["-d", files.to_str().context("a path of ours")?]);
    }
    words.extend([image, "64M"]);
    Run::program(&words).run(context)?.ended_with(0)?;
    Ok(())
}

/// A root made of a directory, and one made of an image. The program comes from the root, not from this machine. What it
/// writes to the image is there afterwards, and the file system is clean.
fn root(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("bin"))?;
    fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
    symlink("busybox", tree.join("bin/sh"))?;
    // PID 1 is ours, even if the root has an /init.
    symlink("/bin/sh", tree.join("init"))?;
    let image = dir.path().join("root.img");
    file_system(context, &image, Some(&tree))?;
    let script = "busybox touch /left && busybox test -e /proc/self && busybox ls /bin";
    for root in [&tree, &image] {
        let root = root.to_str().context("a path of ours")?;
        let args = ["boot", "--on", "lab", "--quiet", "--rootfs", root];
        let boot = |program: &[&str]| {
            let words = args.into_iter().chain(context.source.arguments());
            Run::xtask(words.chain(program.iter().copied()))?.run(context)
        };
        boot(&["--", "/bin/busybox", "sh", "-c", script])?
            .ended_with(0)?
            .printed("busybox\nsh\n")?;
        boot(&["--", "/no/such/program"])?
            .ended_with(125)?
            .complained("exec of /no/such/program")?;
    }
    ensure!(
        !tree.join("left").exists(),
        "the guest wrote to the directory"
    );
    let image = image.to_str().context("a path of ours")?;
    Run::program(&["/sbin/e2fsck", "-fn", image])
        .run(context)?
        .ended_with(0)?;
    let listed = Run::program(&["/sbin/debugfs", "-R", "ls -p /", image]).run(context)?;
    ensure!(listed.stdout.contains("/left/"), "{}", listed.stdout);
    Ok(())
}

/// The host gets back at least half of a file's 48 MiB some seconds after the file is removed. Nothing signals a change of the
/// runner's resident memory, so the script polls it once per lab second while the runner lives. The guest sleeps until the
/// script ends the runner.
fn balloon(context: &Context<'_>) -> Result<()> {
    let file = "head -c 48m /dev/zero > /tmp/file && rm /tmp/file && exec sleep 300";
    let script = r#""$@" & while sleep 1; do
        set -- $(grep -E '^Vm(HWM|RSS)' /proc/$!/status)
        [ -n "$2" ] || exit 1
        echo "$@"
        [ $2 -ge 49152 ] && [ $5 -le $(($2 - 24576)) ] && break
    done; kill -TERM $!"#;
    let more = ["--balloon", "--", "/bin/busybox", "sh", "-c", file];
    let words: Vec<&str> = RUNNER.split(' ').chain(more).collect();
    inside::shell(context, &InLab::default(), script, &words)?;
    Ok(())
}

/// The topology of four processors: cores of one package.
const PROCESSORS: &str = "4
on 0
on 1
on 2
on 3
physical id: 0
core id: 0
cpu cores: 4
physical id: 0
core id: 1
cpu cores: 4
physical id: 0
core id: 2
cpu cores: 4
physical id: 0
core id: 3
cpu cores: 4
";

/// Runs a command on each of four processors: PID 1 waits for all of them before it starts the program.
fn processors(context: &Context<'_>) -> Result<()> {
    let script = "nproc; for cpu in 0 1 2 3; do taskset -c $cpu sh -c 'echo on $0' $cpu; done
        grep -E '^(physical id|cpu cores|core id)' /proc/cpuinfo | tr -d '\\t'";
    // The lab has one processor, so a vCPU that spins on a lock may have to wait until its holder is scheduled: up to a minute
    // on a busy machine.
    let smp = ["--profile", "smp", "--cpus", "4", "--timeout", "300"];
    lab(context, &smp, script)?
        .timeout(400)
        .run(context)?
        .ended_with(0)?
        .printed(PROCESSORS)?;
    Ok(())
}

/// The program has a terminal: input is echoed, and the end of input arrives as a key.
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

/// A boot of profile `default` in the lab with these options, in which busybox' shell runs a script.
pub(crate) fn lab(context: &Context<'_>, options: &[&str], script: &str) -> Result<Run> {
    let program = ["--quiet", "--", "/bin/busybox", "sh", "-c", script];
    Run::xtask(
        ["boot", "--on", "lab"]
            .into_iter()
            .chain(context.source.arguments())
            .chain(options.iter().copied())
            .chain(program),
    )
}
