# PID 1 and pipes: programs run from the initramfs; no network, no block devices, no terminals.
base
lean
hardening
vmlinux
pvh
kvm-guest
initrd
programs
events
ioport
printk
boot-trace
postpone
proc
sysfs
devtmpfs
tmpfs
