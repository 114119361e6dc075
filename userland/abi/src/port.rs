//! The runner's I/O ports. Nothing of a PC's standard devices lives at 0x0a00-0x0a0f.

/// PID 1 writes [`READY_BYTE`] here as its first act; the flat kernel as its only one.
pub const READY: u16 = 0x0a00;

/// What is written to [`READY`]: the byte that Firecracker's boot timer expects, so that a reader knows it.
pub const READY_BYTE: u8 = 123;

/// What PID 1 writes to [`READY`] once it has started the payload.
pub const STARTED_BYTE: u8 = 124;

/// Bytes of the payload's standard output, by `out` or `rep outsb`.
pub const STDOUT: u16 = 0x0a01;

/// Bytes of the payload's standard error.
pub const STDERR: u16 = 0x0a02;

/// Lines of text from PID 1 itself: the verdict (see [`crate::verdict`]).
pub const REPORT: u16 = 0x0a03;

/// A byte written here ends the machine. QEMU's `isa-debug-exit` exits with `byte * 2 + 1`.
pub const EXIT: u16 = 0x0a04;

/// Bytes of the payload's standard input, by `in` or `rep insb`: at most as many as [`STDIN_READY`] promised.
pub const STDIN: u16 = 0x0a08;

/// A 32-bit read: how many bytes [`STDIN`] holds now; 0 for none yet; [`STDIN_EOF`] when there will be no more.
pub const STDIN_READY: u16 = 0x0a0c;

/// No more input, and what a machine without a jiffy runner answers, its bus floating.
pub const STDIN_EOF: u32 = 0xffff_ffff;

/// The most that one [`STDIN_READY`] promises, in bytes.
pub const STDIN_CHUNK: usize = 4096;
