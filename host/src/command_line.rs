//! The kernel's command line: the runner's words, and what the user adds to them and takes away.

use crate::vm::Vm;

/// What every kernel is told, whatever boots it: to end the machine at a panic by a triple fault, which needs no device.
pub const WORDS: &str = "panic=-1 reboot=t tsc=reliable";

/// That memory is zero, which a kernel with our patches need not clear again. It holds for a machine of this runner alone: its
/// memory is new, and a reset ends it. Elsewhere firmware has left bytes, or the guest before a reset.
const NEW_MEMORY: &str = "memblock=zeroed";

/// More memory than this, and a kernel sizes its hash tables so that filling them shows in a boot.
const LARGE_MEMORY: u64 = 512 << 20;

/// What the kernel of this machine is told: the words for every one; that its memory is new; the frequency of the time stamp
/// counter, so that it does not wait to measure it; what its memory and its devices ask for; and the user's words.
pub(crate) fn of(vm: &Vm, extra: &str) -> String {
    let mut line = format!("{WORDS} {NEW_MEMORY}");
    if let Some(khz) = vm.tsc_khz() {
        line += &format!(" tsc_early_khz={khz}");
    }
    if vm.memory.len() > vm.memory.low_end() {
        // 64 MiB that the kernel would set aside and clear for devices that reach no further than 4 GiB: ours all do.
        line += " swiotlb=noforce";
    }
    if vm.memory.len() > LARGE_MEMORY {
        // Each bucket is written at boot, 131,072 of TCP's alone at 16 GiB: 10 of 20 lab ms of profile default. These
        // are for some ten thousand connections; who has more says so behind.
        line += " thash_entries=4096 uhash_entries=512";
    }
    line += &vm.devices.command_line();
    if !extra.is_empty() {
        add(&mut line, extra);
    }
    line
}

/// Adds the user's words. A word `-X` is not added: it takes the word `X` that is there away. Behind `--`, whose words are
/// PID 1's (Documentation/admin-guide/kernel-parameters.rst of Linux), every word is added.
pub fn add(line: &mut String, words: &str) {
    let mut theirs = false;
    for word in words.split(' ') {
        theirs |= word == "--";
        match word.strip_prefix('-') {
            Some(name) if !theirs && !name.is_empty() => take(line, name),
            _ => {
                line.push(' ');
                line.push_str(word);
            }
        }
    }
}

fn take(line: &mut String, name: &str) {
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
    fn words_are_added_and_taken_away() {
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
