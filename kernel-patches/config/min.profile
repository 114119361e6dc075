# PID 1 and pipes: programs run from the initramfs; no network, no block devices, no terminals, no sysfs. PID 1 makes /dev.
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
tmpfs
