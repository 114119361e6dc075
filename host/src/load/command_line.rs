//! The kernel's command line: the runner's parameters, and what the user adds to them and removes.

use crate::memory::GuestMemory;

/// The parameters of every kernel, whatever boots it: to end the machine at a panic by a triple fault, which needs no
/// device.
pub const WORDS: &str = "panic=-1 reboot=t";

/// Memory is zero, so that a kernel with our patches need not clear it again. This holds in this runner only: memory is
/// new, and a reset ends the machine. Elsewhere, firmware or the guest before a reset has left bytes there.
const NEW_MEMORY: &str = "memblock=zeroed";

/// The command line of a machine: the parameters of every one; that its memory is new; the frequency of its time stamp
/// counter, if that is known and never changes, so that the kernel waits neither to measure it nor to watch it; what its memory and its `devices` ask for; and the user's
/// parameters.
pub(crate) fn of(memory: &GuestMemory, tsc_khz: Option<u32>, devices: &str, extra: &str) -> String {
    let mut line = format!("{WORDS} {NEW_MEMORY}");
    if let Some(khz) = tsc_khz {
        line += &format!(" tsc=reliable tsc_early_khz={khz}");
    }
    if memory.len() > memory.low_end() {
        // The kernel would reserve and clear 64 MiB for devices that cannot reach beyond 4 GiB. All of ours can.
        line += " swiotlb=noforce";
    }
    line += devices;
    if !extra.is_empty() {
        add(&mut line, extra);
    }
    line
}

/// Adds the user's parameters, separated by spaces. A word `-X` is not added: it removes the parameter `X` that is there.
/// The words behind `--` are PID 1's (Documentation/admin-guide/kernel-parameters.rst of Linux), and all are added.
pub fn add(line: &mut String, words: &str) {
    let mut for_init = false;
    for word in words.split(' ') {
        for_init |= word == "--";
        match word.strip_prefix('-') {
            Some(name) if !for_init && !name.is_empty() => remove(line, name),
            _ => {
                line.push(' ');
                line.push_str(word);
            }
        }
    }
}

fn remove(line: &mut String, name: &str) {
    let left: Vec<&str> = line.split(' ').filter(|word| *word != name).collect();
    *line = left.join(" ");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(words: &str) -> String {
        let mut line = "panic=-1 memblock=zeroed".to_owned();
        add(&mut line, words);
        line
    }

    #[test]
    fn a_counter_is_relied_upon_where_its_rate_is_known() {
        let memory = GuestMemory::new(8, crate::memory::Pages::Small).unwrap();
        let line = |khz| of(&memory, khz, "", "x");
        assert_eq!(line(None), "panic=-1 reboot=t memblock=zeroed x");
        let known = "panic=-1 reboot=t memblock=zeroed tsc=reliable tsc_early_khz=2400000 x";
        assert_eq!(line(Some(2_400_000)), known);
    }

    #[test]
    fn words_are_added_and_removed() {
        assert_eq!(added("a=1 b"), "panic=-1 memblock=zeroed a=1 b");
        assert_eq!(added("-memblock=zeroed a=\"x  y\""), "panic=-1 a=\"x  y\"");
        // Only whole words, and only those that are there.
        assert_eq!(added("-memblock - -c"), "panic=-1 memblock=zeroed -");
        assert_eq!(
            added("a -- -panic=-1"),
            "panic=-1 memblock=zeroed a -- -panic=-1"
        );
        assert_eq!(
            added("-- -panic=-1"),
            "panic=-1 memblock=zeroed -- -panic=-1"
        );
    }
}
