//! Processors that the kernel brings up when PID 1 already runs.

use crate::sys;
use core::ffi::CStr;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::read;

/// A list of those that are not there yet, as `1-3`, or an empty line (Documentation/ABI/testing/sysfs-devices-system-cpu).
const OFFLINE: &CStr = c"/sys/devices/system/cpu/offline";

/// Then they do not come: `maxcpus=1`, say.
const PATIENCE_MS: u32 = 3_000;

/// Waits for all of them: a program counts them once, when it starts. A kernel without sysfs does not tell.
pub(crate) fn wait() {
    for _ in 0..PATIENCE_MS {
        let mut first = [0];
        if let Ok(file) = open(OFFLINE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            let _ = read(&file, &mut first);
        }
        if !first[0].is_ascii_digit() {
            // The last one runs nothing yet before its step is over.
            return sys::await_hotplug();
        }
        sys::sleep_1ms();
    }
}
