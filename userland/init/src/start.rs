//! What libc and std would bring: the entry point, the memory functions that compiled code calls, and the end of a
//! panic.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};
use core::panic::PanicInfo;

use jiffy_abi::verdict::{Stage, Verdict};

/// Where the kernel enters: a zero frame pointer and the stack pointer, 16-byte aligned (System V ABI, 3.4.1).
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[unsafe(link_section = ".text.start")]
extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp", // the outermost frame, for whoever walks the stack
        "call {main}",  // the return address makes up the alignment that a function expects
        "ud2",          // main never returns
        main = sym crate::main,
    )
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    crate::power::report(Verdict::Error(Stage::Panic, 0));
    crate::power::off()
}

// rustc and LLVM call these by name. String instructions keep the compiler from turning a loop back into a call
// of the very function it implements; PID 1 copies too little for their speed to matter.

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller promises `bytes` readable at `from` and writable at `to`, without overlap.
    unsafe {
        asm!("rep movsb", inout("rcx") bytes => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= bytes {
        // SAFETY: `to` is not inside the source, so that copying upwards reads each byte before it is overwritten.
        return unsafe { memcpy(to, from, bytes) };
    }
    // SAFETY: as for memcpy; copying downwards from the last byte, because `to` is inside the source.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") bytes => _,
            inout("rdi") to.wrapping_add(bytes).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(bytes).wrapping_sub(1) => _, options(nostack));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    // SAFETY: the caller promises `bytes` writable at `to`.
    unsafe {
        asm!("rep stosb", inout("rcx") bytes => _, inout("rdi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    for at in 0..bytes {
        // SAFETY: the caller promises `bytes` readable at both.
        let (l, r) = unsafe { (left.add(at).read(), right.add(at).read()) };
        if l != r {
            return i32::from(l) - i32::from(r);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, bytes) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller promises a NUL-terminated string.
    while unsafe { string.add(length).read() } != 0 {
        length += 1;
    }
    length
}
