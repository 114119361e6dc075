//! A shell script that checks what profile `default` provides for programs.

/// Runs in a guest. Each function checks a capability; `try` prints whether it works.
pub(crate) const CAPABILITIES: &str = r#"try() { if "$1"; then echo "$1 works"; else echo "$1 does not work"; fi; }
procfs() { [ "$(cat /proc/$$/comm)" = busybox ] && grep -q MemTotal /proc/meminfo; }
tmpfs() { mkdir /tmp/t && mount -t tmpfs -o size=1m tmpfs /tmp/t &&
    dd if=/dev/zero of=/tmp/t/a bs=64k count=16 && ! dd if=/dev/zero of=/tmp/t/b bs=64k count=1; }
overlayfs() { mkdir /tmp/o && cd /tmp/o && mkdir lower upper work merged && echo below > lower/file &&
    mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged &&
    [ "$(cat merged/file)" = below ] && echo above > merged/file &&
    [ "$(cat lower/file) $(cat upper/file)" = "below above" ]; }
cgroup2() { cd /sys/fs/cgroup && echo "+memory +pids +cpu +io" > cgroup.subtree_control; }
memory_max() { mkdir m && echo 8M > m/memory.max
    sh -c 'echo $$ > m/cgroup.procs; exec dd if=/dev/zero of=/dev/null bs=16M count=1'
    [ $? = 137 ] && grep -qx 'oom_kill 1' m/memory.events; }
pids_max() { mkdir p && echo 1 > p/pids.max && ! sh -c 'echo $$ > p/cgroup.procs; (:); :' &&
    grep -qx 'max 1' p/pids.events; }
cpu_max() { mkdir q && echo '5000 100000' > q/cpu.max &&
    sh -c 'echo $$ > q/cgroup.procs; i=0; while [ $i -lt 8000 ]; do i=$((i+1)); done' &&
    grep -q 'nr_throttled [1-9]' q/cpu.stat; }
"#;
