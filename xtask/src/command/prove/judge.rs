//! Finds faults in a kernel's log.

/// What a healthy kernel never logs. The kernel begins a line with each of these, and so do the rows when they fail.
const FAULTS: [&str; 22] = [
    "WARNING:",
    "] BUG",
    "kernel BUG at",
    "Oops:",
    "INFO:",
    "general protection",
    "Bad page state",
    "Bad page map",
    "Bad rss-counter",
    "possible circular",
    "suspicious RCU",
    "sleeping function",
    "inconsistent lock state",
    "invalid wait context",
    "unable to handle",
    "Kernel panic",
    "KASAN:",
    "KFENCE:",
    "ODEBUG:",
    "list_add corruption",
    "list_del corruption",
    "prove: FAILED",
];

/// How many lines of a fault are shown, enough for its call trace.
const SHOWN: usize = 45;

/// How many faults are shown; later ones are often of the same kind.
const FAULTS_SHOWN: usize = 20;

/// The beginning of a line that a row prints.
const ROW: &str = "prove: ";

/// The faults in a log, each with the boot that it happened in and the lines that follow.
pub(crate) fn log(said: &str) -> Vec<String> {
    let lines: Vec<&str> = said.lines().collect();
    let mut found: Vec<String> = Vec::new();
    let (mut boot, mut count, mut next) = ("", 0, 0);
    for (at, line) in lines.iter().enumerate() {
        if let Some((_, row)) = line.split_once("prove: boot ") {
            boot = row;
        }
        if at < next || !FAULTS.iter().any(|fault| line.contains(fault)) {
            continue;
        }
        count += 1;
        let shown = shown(&lines[at..]);
        next = at + shown.len();
        if count <= FAULTS_SHOWN {
            found.push(format!("--- boot {boot}\n{}", shown.join("\n")));
        }
    }
    if count > FAULTS_SHOWN {
        found.push(format!("and {} more", count - FAULTS_SHOWN));
    }
    found
}

/// The lines of a fault: up to the end of its trace, or to the next line of a row.
fn shown<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let end = lines
        .iter()
        .skip(1)
        .position(|line| line.contains("---[ end") || line.contains(ROW))
        .map_or(lines.len(), |at| at + 1);
    &lines[..end.min(SHOWN)]
}

/// How many boots there were.
pub(crate) fn boots(said: &str) -> usize {
    said.matches("prove: boot ").count()
}

/// The boot that began last.
pub(crate) fn last(said: &str) -> Option<&str> {
    let (_, row) = said.rsplit_once("prove: boot ")?;
    row.lines().next()
}

/// Whether all boots were done.
pub(crate) fn complete(said: &str) -> bool {
    said.lines()
        .any(|line| line.contains(ROW) && line.trim_end().ends_with("boots done"))
}

/// The log's last lines.
pub(crate) fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const SAID: &str = "\
[    0.000000] Linux version 6.12
[    0.100000] prove: boot 1 of 2: memory/kpageflags
[    0.200000] BUG: KASAN: use-after-free in a+0x1/0x2
[    0.200000] Call Trace:
[    0.200000]  a+0x1/0x2
[    0.200000] ---[ end trace 0000000000000000 ]---
[    0.300000] prove: memory/kpageflags: done
[    0.100000] prove: boot 2 of 2: network/tcp
[    0.200000] prove: network/tcp: done
[    0.300000] prove: 2 boots done
";

    #[test]
    fn a_fault_is_shown_with_its_boot_and_trace() {
        expect![[r"
            --- boot 1 of 2: memory/kpageflags
            [    0.200000] BUG: KASAN: use-after-free in a+0x1/0x2
            [    0.200000] Call Trace:
            [    0.200000]  a+0x1/0x2"]]
        .assert_eq(&log(SAID).join("\n"));
        assert_eq!(boots(SAID), 2);
        assert_eq!(last(SAID), Some("2 of 2: network/tcp"));
        assert!(complete(SAID));
        assert!(!complete(&SAID[..SAID.len() - 20]));
    }

    #[test]
    fn what_a_healthy_kernel_says_is_no_fault() {
        let said = "[    0.1] prove: boot 1 of 1: memory/too-much\n\
            [    0.2] guest invoked oom-killer: gfp_mask=0x140dca\n[    0.2] Call Trace:\n\
            [    0.3] Out of memory: Killed process 31 (guest)\n[    0.4] prove: 1 boots done\n";
        assert!(log(said).is_empty());
    }
}
