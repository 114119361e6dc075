# The kernel of the lab itself, the machine that QEMU emulates and our guests run in.
@default
thp
serial
kvm-lab
