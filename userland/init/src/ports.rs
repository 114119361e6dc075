//! I/O ports, the one way out of the guest. [`crate::doorbell::ring`] has asked the kernel for them.
#![allow(unsafe_code)]

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ptr;

/// Writes one byte.
pub(crate) fn write(port: u16, byte: u8) {
    // SAFETY: jiffy's ports have no effect on the guest's memory.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack, preserves_flags))
    }
}

/// Writes bytes in order; the runner gets them in blocks.
pub(crate) fn write_all(port: u16, bytes: &[u8]) {
    // SAFETY: reads `bytes` and nothing else.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rcx") bytes.len() => _, inout("rsi") bytes.as_ptr() => _,
            options(readonly, nostack, preserves_flags));
    }
}

/// Reads 32 bits.
pub(crate) fn read(port: u16) -> u32 {
    let word;
    // SAFETY: jiffy's ports have no effect on the guest's memory.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") word, options(nomem, nostack, preserves_flags))
    }
    word
}

/// Fills `bytes`, a page's worth at most, from the port.
pub(crate) fn read_all(port: u16, bytes: &mut [MaybeUninit<u8>]) {
    // KVM finds that a page is not there yet after it has read the port: the bytes would be lost. So much memory lies on
    // one page or two.
    for edge in [0, bytes.len().saturating_sub(1)] {
        if let Some(byte) = bytes.get_mut(edge) {
            // SAFETY: a reference is valid for writes.
            unsafe { ptr::from_mut(byte).write_volatile(MaybeUninit::new(0)) };
        }
    }
    // SAFETY: writes `bytes` and nothing else.
    unsafe {
        asm!("rep insb", in("dx") port, inout("rcx") bytes.len() => _, inout("rdi") bytes.as_mut_ptr() => _,
            options(nostack, preserves_flags));
    }
}
