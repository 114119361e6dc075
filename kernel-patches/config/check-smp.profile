# smp, by a kernel that checks itself: ci/debug-kernel.
@smp
serial
check
