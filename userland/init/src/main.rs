//! PID 1 of a jiffy guest. It rings the doorbell, and where the initramfs holds a payload it mounts the usual file
//! systems, runs the payload, carries its streams over I/O ports, reaps every orphan, reports how the payload
//! ended, and powers the machine off. It allocates nothing, has no libc, and never ends.
#![cfg_attr(pid1, no_std, no_main)]

mod child;
mod doorbell;
mod host;
mod mounts;
mod packed;
mod payload;
mod ports;
mod power;
mod processors;
mod pump;
mod reap;
mod root;
mod signals;
#[cfg(pid1)]
mod start;
mod stdin;
mod sys;

use jiffy_abi::verdict::{Stage, Verdict};
use rustix::io::Errno;

fn main() -> ! {
    doorbell::ring();
    match payload::find() {
        Ok(None) => {}
        Ok(Some(payload)) => power::report(run(&payload).unwrap_or_else(|failure| failure)),
        Err(failure) => power::report(failure),
    }
    power::off()
}

/// What a guest with a payload does between the doorbell and the verdict.
///
/// Kept out of `main`: its stack frames span pages that a guest without a payload must not touch.
#[inline(never)]
fn run(payload: &payload::Payload<'_>) -> Result<Verdict, Verdict> {
    root::enter(payload)?;
    mounts::all(payload)?;
    host::set_up(payload)?;
    processors::wait();
    signals::block();
    let child = child::start(payload)?;
    let verdict = pump::until_exit(child);
    child::drain_terminal(payload);
    root::leave(payload);
    verdict
}

/// Makes the verdict for an error at `stage`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "error numbers are from 1 to 4095"
)]
fn failed(stage: Stage) -> impl Fn(Errno) -> Verdict {
    move |errno| Verdict::Error(stage, errno.raw_os_error() as u16)
}
