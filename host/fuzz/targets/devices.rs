//! The queues of a device, their descriptors and what they point to, of a driver that writes what it likes.
//!
//! The input is bytes as they are, so that a seed can be written by hand: the kind, the features, for each queue its descriptors
//! and what is available, then what lies at the first buffer.
#![no_main]

use jiffy::boot::Pages;
use jiffy::devices::{Disk, Sockets};
use jiffy::fuzzing::{
    Balloon, Block, Console, Controller, Device, Entropy, Fault, GuestMemory, Interrupt, Io, Net,
    Stop, View, Virtqueue, Vsock,
};
use libfuzzer_sys::fuzz_target;
use rustix::event::{PollFd, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};

/// Each queue's length; the bytes of what the driver writes of it, those of them that are descriptors; where queues are, what the
/// device writes of each, and buffers.
const LENGTH: u16 = 8;
const PARTS: usize = 0xc0;
const AVAILABLE: u32 = 0x80;
const QUEUES: u32 = 0x1000;
const USED: u32 = 0x8000;
const BUFFERS: u64 = 0x1_0000;

/// How often a device looks around, in which sockets are heard of what was written.
const ROUNDS: usize = 3;

/// The host's programs that a guest's sockets are for.
struct Programs {
    directory: PathBuf,
    _listener: UnixListener,
    _stream: UnixStream,
}

impl Programs {
    /// Listens at port 52, and asks for the guest's port 80.
    fn beside(directory: PathBuf) -> Self {
        let listener = UnixListener::bind(directory.join("vsock_52")).expect("a listener");
        let mut stream = UnixStream::connect(directory.join("vsock")).expect("a stream");
        stream.write_all(b"CONNECT 80\n").expect("a request");
        Programs {
            directory,
            _listener: listener,
            _stream: stream,
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Each kind of device, on something that it may ruin.
fn device(kind: u8) -> (Box<dyn Device>, Option<Programs>) {
    let device: Box<dyn Device> = match kind % 6 {
        0 => {
            let file = File::from(memfd_create("disk", MemfdFlags::CLOEXEC).expect("a memfd"));
            file.set_len(1 << 20).expect("a disk");
            let disk = Disk {
                path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
                ..Disk::default()
            };
            Box::new(Block::open(&disk).expect("a disk"))
        }
        1 => Box::new(Entropy),
        2 => {
            let input = File::open("/dev/zero").expect("input");
            let output = File::options().write(true).open("/dev/null");
            let guest_ready = Arc::new(AtomicBool::new(true));
            Box::new(Console::new(input, output.expect("output"), &guest_ready))
        }
        3 => {
            let (ours, theirs) = UnixDatagram::pair().expect("sockets");
            ours.set_nonblocking(true).expect("a socket");
            theirs.send(&[7; 600]).expect("a packet");
            let tap = File::from(OwnedFd::from(ours));
            Box::new(Net::on(tap, [2, 0, 0, 0, 0, 1]))
        }
        4 => Box::new(Balloon),
        _ => {
            let directory = format!("jiffy-fuzz-{}", std::process::id());
            let directory = std::env::temp_dir().join(directory);
            fs::create_dir_all(&directory).expect("a directory");
            let sockets = Sockets {
                cid: 3,
                path: directory.join("vsock"),
                jail: None,
            };
            let device = Vsock::open(&sockets).expect("a socket");
            return (Box::new(device), Some(Programs::beside(directory)));
        }
    };
    (device, None)
}

/// Has the device look around once, as its thread does.
fn look(device: &mut dyn Device, io: &mut Io) -> Result<(), Fault> {
    io.queues.iter_mut().for_each(Virtqueue::begin_round);
    let mut sources = device.sources();
    let events: Vec<_> = match poll(&mut sources, Some(&Timespec::default())) {
        Ok(_) => sources.iter().map(PollFd::revents).collect(),
        Err(_) => return Ok(()),
    };
    drop(sources);
    device.polled(io, &events)?;
    device.notified(io)
}

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, ref features @ ..], rest)) = input.split_first_chunk::<9>() else {
        return;
    };
    let features = u64::from_le_bytes(*features);
    let (mut device, _programs) = device(kind);
    let count = device.queue_sizes().len();
    let memory = GuestMemory::new(8, Pages::Small).expect("memory");
    let (queues, buffers) = rest.split_at(rest.len().min(count * PARTS));
    for (at, bytes) in [(u64::from(QUEUES), queues), (BUFFERS, buffers)] {
        if memory.write(at, bytes).is_err() {
            return;
        }
    }
    let stop = Stop::default();
    let queues = (0..count as u32).map(|number| {
        let at = QUEUES + PARTS as u32 * number;
        let mut queue = Queue::new(LENGTH).expect("a queue");
        queue.set_desc_table_address(Some(at), Some(0));
        queue.set_avail_ring_address(Some(at + AVAILABLE), Some(0));
        queue.set_used_ring_address(Some(USED + 0x100 * number), Some(0));
        queue.set_event_idx(features & 1 << VIRTIO_RING_F_EVENT_IDX != 0);
        queue.set_ready(true);
        Virtqueue::new(queue, stop.clone())
    });
    let mut io = Io {
        memory: View::new(&memory).expect("a view"),
        queues: queues.collect(),
        interrupt: Interrupt::new(&Arc::new(Controller::new(None, None)), 5),
        features,
        status: Arc::default(),
        stop: stop.clone(),
    };
    if device.activate(&mut io).is_ok() {
        // What has given up does nothing any more.
        let _ = (0..ROUNDS).try_for_each(|_| look(&mut *device, &mut io));
    }
    device.reset();
});
