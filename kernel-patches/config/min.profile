# PID 1 and pipes: programs run from the initramfs; no network, no block devices, no terminals.
base
lean
hardening
pvh
kvm-guest
initrd
programs
events
ioport
printk
proc
sysfs
devtmpfs
tmpfs
