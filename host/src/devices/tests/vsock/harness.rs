//! The guest's side of a socket device, and where the host's programs are.

use super::super::{BUFFERS, Driver, LENGTH, WRITE, begin};
use crate::base::cast::{low32, to_u32};
use crate::devices::virtio::device::Device;
use crate::devices::virtio::io::Io;
use crate::devices::vsock::{Sockets, Vsock};
use rustix::event::{Timespec, poll};
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use tempfile::TempDir;

/// Operations and flags (virtio 1.2, 5.10.6).
pub(super) const REQUEST: u16 = 1;
pub(super) const RESPONSE: u16 = 2;
pub(super) const RST: u16 = 3;
pub(super) const SHUTDOWN: u16 = 4;
pub(super) const RW: u16 = 5;
pub(super) const CREDIT_UPDATE: u16 = 6;
pub(super) const RECEIVES: u32 = 1;
pub(super) const SENDS: u32 = 2;

const HEADER: usize = 44;
/// Where the tests' packets to the device lie, and those from it, each as long as this.
const SENT: u64 = BUFFERS;
const RECEIVED: u64 = BUFFERS + 0x10_0000;
const BUFFER_SIZE: u32 = 4096;
/// What the guest says that it has buffer for.
pub(super) const CREDIT: u32 = 8192;

/// A packet as the guest sees it: operation, the host's port, the guest's, flags, and data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet(
    pub(super) u16,
    pub(super) u32,
    pub(super) u32,
    pub(super) u32,
    pub(super) Vec<u8>,
);

pub(super) fn packet(op: u16, host: u32, guest: u32) -> Packet {
    Packet(op, host, guest, 0, Vec::new())
}

/// A device for address 3, whose socket is in this directory.
pub(in super::super) fn open(dir: &Path) -> Vsock {
    Vsock::open(&Sockets {
        cid: 3,
        path: dir.join("vsock"),
        jail: None,
    })
    .unwrap()
}

pub(super) struct Harness {
    dir: TempDir,
    pub(super) device: Vsock,
    driver: Driver,
    io: Io,
    /// How many packets have come.
    taken: u16,
    /// What the guest says that it has buffer for and has read, and who it says to be.
    pub(super) credit: u32,
    pub(super) read: u32,
    pub(super) cid: u64,
}

impl Harness {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let device = open(dir.path());
        let driver = Driver::new(3);
        let mut harness = Harness {
            io: driver.io(0),
            dir,
            device,
            driver,
            taken: 0,
            credit: CREDIT,
            read: 0,
            cid: 3,
        };
        (0..LENGTH).for_each(|number| harness.offer_buffer(number));
        harness
    }

    fn offer_buffer(&mut self, number: u16) {
        let at = RECEIVED + u64::from(number) * u64::from(BUFFER_SIZE);
        let descriptor = (at, BUFFER_SIZE, WRITE, 0);
        self.driver.descriptor(0, number, descriptor);
        self.driver.offer(0, number);
    }

    /// Sends a packet, and has the device look at it.
    pub(super) fn send(&mut self, packet: &Packet) {
        let Packet(op, host, guest, flags, data) = packet;
        let mut bytes = [self.cid.to_le_bytes(), 2_u64.to_le_bytes()].concat();
        for word in [*guest, *host, to_u32(data.len())] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([1, 0]);
        bytes.extend(op.to_le_bytes());
        for word in [*flags, self.credit, self.read] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(data);
        self.driver.put(SENT, &bytes);
        let len = to_u32(bytes.len());
        self.driver.request(1, &[(SENT, len, false)]);
        begin(&mut self.io);
        self.device.notified(&mut self.io).unwrap();
    }

    /// Has the device look at its sockets once, without waiting.
    pub(super) fn look(&mut self) {
        begin(&mut self.io);
        let mut polled = self.device.sources();
        poll(&mut polled, Some(&Timespec::default())).unwrap();
        let events: Vec<_> = polled.iter().map(|polled| polled.revents()).collect();
        self.device.polled(&mut self.io, &events).unwrap();
    }

    /// What has come since the last call; its buffer is given back.
    pub(super) fn received(&mut self) -> Vec<Packet> {
        let count = self.driver.used(0).0;
        let mut packets = Vec::new();
        while self.taken != count {
            let number = self.taken % LENGTH;
            let at = RECEIVED + u64::from(number) * u64::from(BUFFER_SIZE);
            let header: [u8; HEADER] = self.driver.get(at);
            let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
            assert_eq!((word(0), word(8), header[28]), (2, low32(self.cid), 1));
            let mut data = vec![0; word(24) as usize];
            self.driver
                .memory
                .read(at + HEADER as u64, &mut data)
                .unwrap();
            let op = u16::from_le_bytes([header[30], header[31]]);
            packets.push(Packet(op, word(16), word(20), word(32), data));
            self.taken = self.taken.wrapping_add(1);
            self.offer_buffer(number);
        }
        packets
    }

    /// What a packet is answered with.
    pub(super) fn answer(&mut self, packet: &Packet) -> Vec<Packet> {
        self.send(packet);
        self.received()
    }

    /// What comes of a look at the sockets.
    pub(super) fn looked(&mut self) -> Vec<Packet> {
        self.look();
        self.received()
    }

    /// A program of the host's that waits for the guest's connections, and does not wait in `accept`.
    pub(super) fn listen(&self, port: u32) -> UnixListener {
        let listener = UnixListener::bind(self.dir.path().join(format!("vsock_{port}"))).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    /// A program of the host's that connects to the guest, and says this first.
    pub(super) fn dial(&self, words: &[u8]) -> UnixStream {
        let mut host = UnixStream::connect(self.dir.path().join("vsock")).unwrap();
        host.write_all(words).unwrap();
        host
    }

    /// A connection that the guest asked for: from its port 1000 to the host's 52.
    pub(super) fn connected() -> (Self, UnixStream) {
        let mut harness = Self::new();
        let listener = harness.listen(52);
        let answer = harness.answer(&packet(REQUEST, 52, 1000));
        assert_eq!(answer, [packet(RESPONSE, 52, 1000)]);
        let host = listener.accept().unwrap().0;
        (harness, host)
    }
}
