//! What everybody expects of a guest: that it can be switched off, that it has a loopback, a name, users and an environment.
//! All in the lab, in few boots; the row of the machine's own KVM is the one where the runner watches for a halt.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::check::{Check, Context};
use super::command::Run;

/// Commands that end a guest, with the report's name for it; `poweroff -f` has rows of its own below. Without -f, busybox
/// sends PID 1 a signal; with -f, it calls reboot(2).
const ENDS: [(&str, &str); 5] = [
    ("poweroff", "power-off"),
    ("reboot", "restart"),
    ("reboot -f", "restart"),
    ("halt", "halt"),
    ("halt -f", "halt"),
];

/// The distribution's: what is earlier in PATH may be a script that needs more than it says.
const PYTHON: &str = "/usr/bin/python3";

/// A guest that ends itself does so long before this, in seconds.
const TIMEOUT: &str = "20";

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = ENDS
        .map(|(command, name)| {
            Check::new(format!("lab/basics/{command}"), move |context| {
                ends(context, "lab", command, name)
            })
        })
        .into();
    checks.push(
        Check::new("host/basics/poweroff -f", |context| {
            ends(context, "host", "poweroff -f", "power-off")
        })
        .on_kvm(),
    );
    checks.push(Check::new("lab/basics/own init", own_init));
    checks.push(Check::new("lab/basics/settings", settings));
    checks.push(Check::new("lab/basics/rootfs", rootfs));
    checks.push(Check::new("lab/basics/out of memory", out_of_memory));
    checks.push(Check::new("lab/basics/python", python).unless(no_python()));
    checks
}

fn boot(context: &Context<'_>, on: &str, words: &[&str]) -> Result<Run> {
    let args = ["boot", "--on", on];
    let all = args.into_iter().chain(context.source.arguments());
    Ok(Run::xtask(all.chain(words.iter().copied()))?.timeout(400))
}

fn ends(context: &Context<'_>, on: &str, command: &str, name: &str) -> Result<()> {
    let timeout = if on == "host" { "300" } else { TIMEOUT };
    // The shell's last words are heard, and it does not go on.
    let script = format!("echo going; /bin/busybox {command}; /bin/busybox sleep 999");
    let words = [
        "--json",
        "--timeout",
        timeout,
        "--",
        "/bin/busybox",
        "sh",
        "-c",
        &script,
    ];
    let ran = boot(context, on, &words)?.run(context)?;
    ensure!(ran.stderr.contains("going"), "stderr is {:?}", ran.stderr);
    ended_by(&ran.ended_with(0)?.json()?, name)
}

fn ended_by(report: &Value, name: &str) -> Result<()> {
    ensure!(report["outcome"] == "exited", "{report}");
    ensure!(report["ended_by"] == name, "{report}");
    ensure!(report["exit_code"] == 0, "{report}");
    Ok(())
}

/// A guest whose PID 1 is a shell script of the user's, and no program of ours.
fn own_init(context: &Context<'_>) -> Result<()> {
    let root = tempfile::tempdir()?;
    fs::create_dir_all(root.path().join("bin"))?;
    fs::copy("/bin/busybox", root.path().join("bin/busybox"))?;
    let init = root.path().join("init");
    fs::write(&init, "#!/bin/busybox sh\nexec /bin/busybox poweroff -f\n")?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&init, mode)?;
    let archive = root.path().join("init.cpio");
    fs::write(&archive, jiffy::payload::directory(root.path())?)?;
    let archive = archive.to_string_lossy();
    let words = ["--json", "--timeout", TIMEOUT, "--initrd", &archive];
    let ran = boot(context, "lab", &words)?.run(context)?;
    ended_by(&ran.ended_with(0)?.json()?, "power-off")
}

/// Loopback, host name, user, environment and working directory, in one boot.
fn settings(context: &Context<'_>) -> Result<()> {
    let script = "hostname; id -u; id -g; id -G; pwd; echo $A $HOME; cat \"$0\"; \
        echo heard | nc -l -p 8080 >/dev/null & while ! echo | nc 127.0.0.1 8080; do :; done; date-is-not-there";
    let dir = tempfile::tempdir()?;
    let added = dir.path().join("added");
    fs::write(&added, "brought\n")?;
    let added = added.to_string_lossy();
    let script = script
        .replace("hostname;", "/bin/busybox hostname;")
        .replace("id -", "/bin/busybox id -")
        .replace("cat ", "/bin/busybox cat ")
        .replace("nc ", "/bin/busybox nc ");
    let words = [
        "--quiet",
        "--timeout",
        TIMEOUT,
        "--env",
        "A=1  2",
        "--user",
        "31000:31001",
        "--workdir",
        "/tmp",
        "--hostname",
        "box",
        "--add",
        &added,
        "--",
        "/bin/busybox",
        "sh",
        "-c",
        &script,
        &added,
    ];
    let ran = boot(context, "lab", &words)?.run(context)?;
    ran.ended_with(127)?
        .printed("box\n31000\n31001\n31001\n/tmp\n1 2 /\nbrought\nheard\n")?
        .complained("--add FILE")?;
    Ok(())
}

/// A user by the root's own names; and container images are refused with what to do.
fn rootfs(context: &Context<'_>) -> Result<()> {
    let root = tempfile::tempdir()?;
    for dir in ["bin", "etc", "srv"] {
        fs::create_dir(root.path().join(dir))?;
    }
    fs::copy("/bin/busybox", root.path().join("bin/busybox"))?;
    fs::write(
        root.path().join("etc/passwd"),
        "web:x:33:34::/srv:/bin/sh\n",
    )?;
    let given = root.path().to_string_lossy();
    let script = "echo $(/bin/busybox id -un) $HOME $(/bin/busybox hostname)";
    let words = [
        "--quiet",
        "--timeout",
        TIMEOUT,
        "--rootfs",
        &given,
        "--user",
        "web",
        "--",
        "/bin/busybox",
        "sh",
        "-c",
        script,
    ];
    let ran = boot(context, "lab", &words)?.run(context)?;
    ran.ended_with(0)?.printed("web /srv jiffy\n")?;
    fs::write(root.path().join("oci-layout"), "{}")?;
    let ran = boot(context, "lab", &words)?.run(context)?;
    ran.ended_with(2)?.complained("docker export")?;
    Ok(())
}

/// The guest's kernel kills the program, which is told apart from one that kills itself; and a guest that cannot hold its
/// initramfs is not started.
fn out_of_memory(context: &Context<'_>) -> Result<()> {
    let eat = "x=0123456789abcdef; while :; do x=$x$x; done";
    for (script, named) in [(eat, true), ("kill -9 $$", false)] {
        let words = [
            "--json",
            "--timeout",
            TIMEOUT,
            "--memory",
            "40M",
            "--",
            "/bin/busybox",
            "sh",
            "-c",
            script,
        ];
        let report = boot(context, "lab", &words)?
            .run(context)?
            .ended_with(137)?
            .json()?;
        ensure!(
            report["out_of_memory"].as_bool().unwrap_or(false) == named,
            "{report}"
        );
    }
    let dir = tempfile::tempdir()?;
    let large = dir.path().join("large");
    fs::File::create(&large)?.set_len(48 << 20)?;
    let large = large.to_string_lossy();
    let words = [
        "--memory",
        "32M",
        "--add",
        &large,
        "--",
        "/bin/busybox",
        "true",
    ];
    let ran = boot(context, "lab", &words)?.run(context)?;
    ran.ended_with(125)?.complained("suffices")?;
    Ok(())
}

fn no_python() -> Option<String> {
    (!Path::new(PYTHON).exists()).then(|| format!("there is no {PYTHON}"))
}

/// Interpreters find their modules.
fn python(context: &Context<'_>) -> Result<()> {
    let words = [
        "--quiet",
        "--timeout",
        "60",
        "--memory",
        "192M",
        "--",
        PYTHON,
        "-c",
        "import json, socket; print(json.dumps([1]), socket.gethostname())",
    ];
    let ran = boot(context, "lab", &words)?.run(context)?;
    ran.ended_with(0)?.printed("[1] jiffy\n")?;
    Ok(())
}
