//! A queue of a device, its descriptors and what they point to, of a driver that writes what it likes.
#![no_main]

use jiffy::devices::interrupt::{Controller, Interrupt};
use jiffy::devices::memory::View;
use jiffy::devices::ring::Ring;
use jiffy::devices::worker::{Failure, Io};
use jiffy::devices::{Device, block, console, entropy, net};
use jiffy::memory::{GuestMemory, Pages};
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use virtio_queue::{Queue, QueueT};

/// Each queue's length and parts, close to each other so that little noise fills them, and where buffers are.
const LENGTH: u16 = 8;
const QUEUES: u32 = 0x1000;
const AVAILABLE: u32 = 0x80;
const USED: u32 = 0x100;
const BUFFERS: u64 = 0x1_0000;

/// Each kind of device, on something that it may ruin.
fn device(kind: u8) -> Box<dyn Device> {
    match kind % 4 {
        0 => {
            let file = File::from(memfd_create("disk", MemfdFlags::CLOEXEC).expect("a memfd"));
            file.set_len(1 << 20).expect("a disk");
            let disk = block::Disk {
                path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
                ..block::Disk::default()
            };
            Box::new(block::Block::open(&disk).expect("a disk"))
        }
        1 => Box::new(entropy::Entropy),
        2 => {
            let input = File::open("/dev/zero").expect("input");
            let output = File::options().write(true).open("/dev/null");
            let listens = Arc::new(AtomicBool::new(true));
            Box::new(console::Console::new(
                input,
                output.expect("output"),
                &listens,
            ))
        }
        _ => {
            let (ours, theirs) = UnixDatagram::pair().expect("sockets");
            ours.set_nonblocking(true).expect("a socket");
            theirs.send(&[7; 600]).expect("a packet");
            let tap = File::from(OwnedFd::from(ours));
            Box::new(net::Net::on(tap, [2, 0, 0, 0, 0, 1]))
        }
    }
}

fuzz_target!(|input: (u8, u64, Vec<u8>, Vec<u8>)| {
    let (kind, features, queues, buffers) = input;
    let mut device = device(kind);
    let memory = GuestMemory::new(8, Pages::Small).expect("memory");
    for (at, bytes) in [(u64::from(QUEUES), queues), (BUFFERS, buffers)] {
        if memory.write(at, &bytes).is_err() {
            return;
        }
    }
    let rings = device.queues().iter().zip(1..).map(|(_, number)| {
        let at = QUEUES * number;
        let mut queue = Queue::new(LENGTH).expect("a queue");
        queue.set_desc_table_address(Some(at), Some(0));
        queue.set_avail_ring_address(Some(at + AVAILABLE), Some(0));
        queue.set_used_ring_address(Some(at + USED), Some(0));
        queue.set_event_idx(features & 1 << 29 != 0);
        queue.set_ready(true);
        Ring::new(queue)
    });
    let rings = rings.collect();
    let mut io = Io {
        view: View::new(&memory).expect("a view"),
        rings,
        interrupt: Interrupt::new(&Arc::new(Controller::new(None, None)), 5),
        features,
        config: device.config(),
        fail: Failure::default(),
    };
    let _ = device.start(&mut io).and_then(|()| device.rung(&mut io));
});
