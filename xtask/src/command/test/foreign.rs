//! A kernel that nobody here has built or patched, straight from its package: it finds its devices by ACPI, and its end is
//! told as what it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::check::{Check, Context};
use super::command::Run;
use super::devices::file_system;
use crate::base::install::is_debian;
use crate::guest::userland;

/// Debian's kernel for virtual machines.
const DEBIAN: &str = "linux-image-cloud-amd64";

/// Its modules for virtio devices, in the order in which they need each other.
const MODULES: [&str; 7] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_mmio",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// Reads from the disk and talks to the host.
const SCRIPT: &str = "mkdir /a && mount -t ext4 -o ro /dev/vda /a && cat /a/told && umount /a || exit 3
ip addr add 10.0.0.2/24 dev eth0 && ip link set eth0 up && ping -q -c 1 10.0.0.1 | grep -c '1 packets received'
exec busybox ";

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new("lab/foreign/devices and ends", devices_and_ends).unless(not_debian())]
}

fn devices_and_ends(context: &Context<'_>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let kernel = debian(context, dir.path())?;
    let told = dir.path().join("files");
    fs::create_dir(&told)?;
    fs::write(told.join("told"), "the host's words\n")?;
    let disk = dir.path().join("disk.img");
    file_system(context, &disk, Some(&told))?;
    let (modules, load) = modules(dir.path())?;
    let ours = userland::initramfs(context.layout, "min")?;
    for (end, outcome) in [("reboot -f", "by restart"), ("poweroff -f", "by power-off")] {
        let words =
            ["boot --on lab --memory 256M --timeout 200 --net tap=tap0,ip=10.0.0.2/24,gw=10.0.0.1"];
        let words = words
            .iter()
            .flat_map(|words| words.split(' '))
            .map(str::to_owned);
        let files = [
            ("--kernel", &kernel),
            ("--initrd", &ours),
            ("--initrd", &modules),
            ("--disk", &disk),
        ];
        let files = files
            .iter()
            .flat_map(|(name, file)| [(*name).to_owned(), file.to_string_lossy().into_owned()]);
        let script = format!("{load}{SCRIPT}{end}");
        let program = ["--", "/bin/busybox", "sh", "-c", &script].map(str::to_owned);
        let ran = Run::xtask(words.chain(files).chain(program))?
            .timeout(300)
            .run(context)?;
        ran.ended_with(0)?.complained(outcome)?;
        ensure!(ran.stdout == "the host's words\n1\n", "{:?}", ran.stdout);
    }
    Ok(())
}

/// An archive of the modules in a package that was unpacked here, and the commands that load them.
fn modules(dir: &Path) -> Result<(PathBuf, String)> {
    let versions = fs::read_dir(dir.join("root/lib/modules"))?;
    let version = versions
        .flatten()
        .next()
        .context("the package has no modules")?;
    let (mut files, mut load) = (Vec::new(), String::new());
    for module in MODULES {
        let file = version.path().join(format!("kernel/{module}.ko"));
        let name = format!(
            "modules/{}.ko",
            module.rsplit('/').next().unwrap_or_default()
        );
        load += &format!("insmod /{name} || exit 2\n");
        files.push((
            name,
            fs::read(&file).with_context(|| format!("reading {}", file.display()))?,
        ));
    }
    let mut archive = Vec::new();
    jiffy::payload::files(&files, &mut archive)?;
    let path = dir.join("modules.cpio");
    fs::write(&path, archive)?;
    Ok((path, load))
}

/// Unpacks Debian's kernel below a directory; the path of its bzImage.
pub(super) fn debian(context: &Context<'_>, dir: &Path) -> Result<PathBuf> {
    let depends = Run::program(&["apt-cache", "depends", DEBIAN]).run(context)?;
    let package = depends
        .ended_with(0)?
        .stdout
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .context("the package depends on no kernel; run apt-get update")?
        .to_owned();
    Run::program(&["apt-get", "download", &package])
        .run_in(dir)?
        .ended_with(0)?;
    let archive = fs::read_dir(dir)?.next().context("no package")??.path();
    let archive = archive.to_str().context("a path")?;
    Run::program(&["dpkg-deb", "--extract", archive, "root"])
        .run_in(dir)?
        .ended_with(0)?;
    fs::read_dir(dir.join("root/boot"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.to_string_lossy().contains("vmlinuz"))
        .context("the package has no kernel")
}

pub(super) fn not_debian() -> Option<String> {
    (!is_debian()).then(|| format!("this is not Debian, and has no {DEBIAN}"))
}
