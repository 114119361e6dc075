# default, by a kernel that checks itself: ci/debug-kernel.
@default
serial
check
