//! What `jiffy --help` says.

/// The whole of it.
pub(super) const HELP: &str = "\
Boot an x86-64 Linux under KVM, and say how long it took.

Usage:
  jiffy run --kernel VMLINUX [--initrd CPIO]... [options] [-- PROGRAM ARG...]
  jiffy probe [--json]

run boots until PID 1 is ready; with PROGRAM, takes it (and the libraries it needs) along, runs it in the guest,
and passes on its stdin, stdout, stderr and exit status. probe tells what kind of KVM this host has.

Options of run:
  --kernel FILE       the kernel: an x86-64 vmlinux
  --entry PROTOCOL    how it is entered: linux64 (PVH if its entry point is in none of its segments) or pvh (linux64)
  --initrd FILE       an initramfs (cpio); several are put one behind the other
  --memory SIZE       guest memory, in MiB or with a suffix K, M or G (128M)
  --cpus N            vCPUs, 1 to 32 (1); the kernel must be one for several
  --pages KIND        what backs guest memory: auto, 4k, thp or 2m (auto)
  --irqchip KIND      local: the local APIC alone; pc: PIC, I/O APIC and PIT too, for foreign kernels (local)
  --disk FILE[,ro][,direct]
                      a disk: /dev/vda, the next /dev/vdb; read-only with ro, past the page cache with direct
  --root FILE[,ro][,direct]
                      a disk whose ext4 file system is the root, where PROGRAM is; it is /dev/vda
  --in-guest          PROGRAM is in the initramfs already: take nothing along
  --net tap=NAME[,ip=A.B.C.D/N[,gw=A.B.C.D]][,mac=XX:XX:XX:XX:XX:XX]
                      a network card on a tap, which is made if it is not there, with the gateway's address
  --console           the program's streams are a terminal, /dev/hvc0, on ours; Ctrl-A x ends it (see --timeout)
  --entropy           randomness from the host
  --balloon           memory that the guest frees goes back to the host, some seconds later
  --vsock [cid=N,]uds=PATH
                      sockets between guest and host: a program that connects to PATH and says `CONNECT port` is
                      connected to the guest's port, and the guest (3, or N) reaches the host's port at PATH_port
  --cmdline TEXT      more for the kernel's command line; the word -X takes our own word X away
  --timeout SECONDS   the longest that the guest may run (60)
  --stdin FILE        the program's input, instead of ours
  --ready-fd N        write one byte 0x01 to this descriptor when the guest is ready
  --profile NAME      the kernel's profile, for the report
  --runs N            boot N times, each in a process of its own (1)
  --count N           boot N machines in one process, which share the kernel and initramfs; PROGRAM's input is empty
                      unless --stdin gives it one; with --json, the first to be ready wait until all beside them are
  --parallel P        with --count: so many at a time (as many as there are processors)
  --report FILE       write the report as JSON to FILE
  --trace FILE        interrupt the guest to see where it is, and write that to FILE (- for stdout)
  --sample-hz N       how often in a second (10000)
  --json              write the report as JSON to stdout; the program's output goes to stderr
  --quiet             no report
  --jail DIR          lock the runner up in DIR, best an empty one, before the guest runs: no other files, no network,
                      no privileges; run as root, it becomes nobody. The sockets of --vsock have to be in DIR. Where the
                      kernel has Landlock, files of DIR cannot be used either
  --cgroup DIR        run in this cgroup, whose limits are then the runner's and its guest's
  --no-seccomp        do not confine the runner to the system calls that a running guest takes

Exit status: the program's own; 0 ready; 124 timed out; 125 the runner's or the guest's fault; 130 interrupted;
2 bad usage.

Examples:
  jiffy run --kernel vmlinux --initrd initramfs.cpio
  echo hello | jiffy run --kernel vmlinux --initrd initramfs.cpio -- /usr/bin/tr a-z A-Z
  jiffy run --kernel vmlinux --initrd initramfs.cpio --runs 15 --json
  jiffy run --kernel vmlinux --initrd initramfs.cpio --count 1000 --parallel 64 --pages 4k";
