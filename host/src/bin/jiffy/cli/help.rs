//! What `jiffy --help` says.

/// The whole of it.
pub(super) const HELP: &str = "\
Boot an x86-64 Linux under KVM, and say how long it took.

Usage:
  jiffy run --kernel VMLINUX [--initrd CPIO]... [options] [-- PROGRAM ARG...]
  jiffy probe [--json]

run boots until PID 1 is ready. With PROGRAM, it copies the program and the libraries it needs into the guest, runs it
there, and passes on its stdin, stdout, stderr and exit status. probe tells what kind of KVM this host has, and what it
lacks: its exit status is 1 if it cannot be used.

Options of run:
  --kernel FILE       the kernel: an x86-64 vmlinux
  --entry PROTOCOL    the boot protocol: linux64 (default; PVH for a kernel whose entry point is in none of its
                      segments) or pvh
  --initrd FILE       an initramfs (cpio); several are joined in this order
  --memory SIZE       guest memory, in MiB or with a suffix K, M or G (128M)
  --cpus N            vCPUs, 1 to 32 (1); more than one needs a kernel built for it
  --cpu LIST          what the guest's processor has on request: nested (VMX or SVM), pmu, or both with a comma
  --pages KIND        what backs guest memory: auto, 4k, thp or 2m (auto)
  --irqchip KIND      local: the local APIC alone; pc: PIC, I/O APIC and PIT too, for foreign kernels (local)
  --disk FILE[,ro][,direct]
                      add a disk: /dev/vda, the next one /dev/vdb; ro is read-only, direct bypasses the page cache
  --root FILE[,ro][,direct]
                      add a disk, /dev/vda, whose ext4 file system is the root, where PROGRAM is
  --in-guest          PROGRAM is in the initramfs already: copy nothing
  --net tap=NAME[,ip=A.B.C.D/N[,gw=A.B.C.D]][,mac=XX:XX:XX:XX:XX:XX]
                      add a network card on a tap; a tap that does not exist is created, with the gateway's address
  --console           run PROGRAM on a terminal, /dev/hvc0, which is shown on ours; Ctrl-A x ends it (see --timeout)
  --entropy           give the guest random numbers from the host
  --balloon           give memory that the guest frees back to the host, some seconds later
  --vsock [cid=N,]uds=PATH
                      add sockets between guest and host: a program that connects to PATH and writes `CONNECT port` is
                      connected to that port of the guest, whose CID is 3 or N; the guest's connection to a port of the
                      host (CID 2) goes to PATH_port
  --cmdline TEXT      add this to the kernel's command line; a word -X removes X from what jiffy puts there
  --timeout SECONDS   the longest that the guest may run (60)
  --stdin FILE        read the program's input from FILE instead of our stdin
  --ready-fd N        write one byte 0x01 to this descriptor when the guest is ready
  --profile NAME      the kernel's profile, for the report
  --runs N            boot N times, each in a process of its own (1)
  --count N           boot N machines in one process, which share the kernel and initramfs; PROGRAM has no input unless
                      --stdin names one; with --json, the first P machines wait for each other when they are ready
  --parallel P        with --count: run P machines at a time (the number of processors)
  --report FILE       write the report as JSON to FILE
  --trace FILE        sample where the guest is, and write the samples to FILE (- for stdout)
  --sample-hz N       samples per second (10000)
  --json              write the report as JSON to stdout; the program's output goes to stderr
  --quiet             print no report
  --jail DIR          confine the runner to DIR, preferably an empty one, before the guest runs: no other files, no
                      network, no privileges. Run as root, it becomes nobody. The sockets of --vsock have to be in DIR.
                      Where the kernel has Landlock, the files in DIR are out of reach too
  --cgroup DIR        run in this cgroup, whose limits then apply to the runner and its guest
  --no-seccomp        do not limit the runner to the system calls that a running guest needs

Exit status: the program's own; 0 ready; 124 timed out; 125 the runner's or the guest's fault; 130 interrupted;
2 bad usage.

Examples:
  jiffy run --kernel vmlinux --initrd initramfs.cpio
  echo hello | jiffy run --kernel vmlinux --initrd initramfs.cpio -- /usr/bin/tr a-z A-Z
  jiffy run --kernel vmlinux --initrd initramfs.cpio --runs 15 --json
  jiffy run --kernel vmlinux --initrd initramfs.cpio --count 1000 --parallel 64 --pages 4k";
