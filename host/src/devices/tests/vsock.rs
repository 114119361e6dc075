//! Connections between a driver that is written by hand and Unix sockets, which take and give at once.

use super::{BUFFERS, Driver, LENGTH};
use crate::devices::Device;
use crate::devices::ring::Ring;
use crate::devices::vsock::{Sockets, Vsock};
use crate::devices::worker::Io;
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::event::{Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use tempfile::TempDir;

/// Operations and flags (virtio 1.2, 5.10.6).
const REQUEST: u16 = 1;
const RESPONSE: u16 = 2;
const RST: u16 = 3;
const SHUTDOWN: u16 = 4;
const RW: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const RECEIVES: u32 = 1;
const SENDS: u32 = 2;

const HEADER: usize = 44;
/// Where the tests' packets to the device lie, and those from it, each as long as this.
const SENT: u64 = BUFFERS;
const RECEIVED: u64 = BUFFERS + 0x10_0000;
const ROOM: u32 = 4096;
/// What the guest says that it has room for.
const CREDIT: u32 = 8192;

/// A packet as the guest sees it: operation, the host's port, the guest's, flags, and data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet(u16, u32, u32, u32, Vec<u8>);

fn packet(op: u16, host: u32, guest: u32) -> Packet {
    Packet(op, host, guest, 0, Vec::new())
}

struct Bench {
    dir: TempDir,
    device: Vsock,
    driver: Driver,
    io: Io,
    /// How many packets have come.
    heard: u16,
    /// What the guest says that it has room for and has read, and who it says to be.
    credit: u32,
    read: u32,
    cid: u64,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vsock");
        let device = Vsock::open(&Sockets {
            cid: 3,
            path,
            jail: None,
        })
        .unwrap();
        let driver = Driver::new(3);
        let mut bench = Bench {
            io: driver.io(0),
            dir,
            device,
            driver,
            heard: 0,
            credit: CREDIT,
            read: 0,
            cid: 3,
        };
        (0..LENGTH).for_each(|number| bench.give_room(number));
        bench
    }

    fn give_room(&mut self, number: u16) {
        let at = RECEIVED + u64::from(number) * u64::from(ROOM);
        let descriptor = (at, ROOM, super::WRITE, 0);
        self.driver.descriptor(0, number, descriptor);
        self.driver.offer(0, number);
    }

    /// Sends a packet, and has the device look at it.
    fn send(&mut self, packet: &Packet) {
        let Packet(op, host, guest, flags, data) = packet;
        let mut bytes = [self.cid.to_le_bytes(), 2_u64.to_le_bytes()].concat();
        for word in [*guest, *host, data.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([1, 0]);
        bytes.extend(op.to_le_bytes());
        for word in [*flags, self.credit, self.read] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(data);
        self.driver.put(SENT, &bytes);
        let len = bytes.len() as u32;
        self.driver.request(1, &[(SENT, len, false)]);
        self.io.rings.iter_mut().for_each(Ring::begin);
        self.device.rung(&mut self.io).unwrap();
    }

    /// Has the device look at its sockets once, without waiting.
    fn look(&mut self) {
        self.io.rings.iter_mut().for_each(Ring::begin);
        let mut polled = self.device.sources();
        poll(&mut polled, Some(&Timespec::default())).unwrap();
        let events: Vec<_> = polled.iter().map(|polled| polled.revents()).collect();
        self.device.polled(&mut self.io, &events).unwrap();
    }

    /// What has come since the last call; its room is given back.
    fn heard(&mut self) -> Vec<Packet> {
        let count = self.driver.used(0).0;
        let mut packets = Vec::new();
        while self.heard != count {
            let number = self.heard % LENGTH;
            let at = RECEIVED + u64::from(number) * u64::from(ROOM);
            let header: [u8; HEADER] = self.driver.get(at);
            let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
            assert_eq!((word(0), word(8), header[28]), (2, self.cid as u32, 1));
            let mut data = vec![0; word(24) as usize];
            self.driver
                .memory
                .read(at + HEADER as u64, &mut data)
                .unwrap();
            let op = u16::from_le_bytes([header[30], header[31]]);
            packets.push(Packet(op, word(16), word(20), word(32), data));
            self.heard = self.heard.wrapping_add(1);
            self.give_room(number);
        }
        packets
    }

    fn listen(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.dir.path().join(format!("vsock_{port}"))).unwrap()
    }

    /// A connection that the guest asked for: from its port 1000 to the host's 52.
    fn connected(&mut self) -> UnixStream {
        let listener = self.listen(52);
        self.send(&packet(REQUEST, 52, 1000));
        assert_eq!(self.heard(), [packet(RESPONSE, 52, 1000)]);
        listener.accept().unwrap().0
    }
}

fn data(bytes: &[u8]) -> Packet {
    Packet(RW, 52, 1000, 0, bytes.to_vec())
}

fn shutdown(flags: u32) -> Packet {
    Packet(SHUTDOWN, 52, 1000, flags, Vec::new())
}

#[test]
fn the_guest_connects_and_both_talk() {
    let mut bench = Bench::new();
    let mut host = bench.connected();
    bench.send(&data(b"hello"));
    let mut bytes = [0; 5];
    host.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    host.write_all(b"and you").unwrap();
    bench.look();
    assert_eq!(bench.heard(), [data(b"and you")]);
    // One way ends, and then the other.
    host.shutdown(std::net::Shutdown::Write).unwrap();
    bench.look();
    assert_eq!(bench.heard(), [shutdown(SENDS)]);
    bench.send(&data(b"still"));
    bench.send(&shutdown(SENDS | RECEIVES));
    assert_eq!(bench.heard(), [packet(RST, 52, 1000)]);
    let mut rest = String::new();
    host.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "still");
}

#[test]
fn the_host_connects_by_saying_where_to() {
    let mut bench = Bench::new();
    let mut host = UnixStream::connect(bench.dir.path().join("vsock")).unwrap();
    host.write_all(b"CONN").unwrap();
    bench.look();
    host.write_all(b"ECT 80\nearly").unwrap();
    bench.look();
    let port = 1 << 30;
    assert_eq!(bench.heard(), [packet(REQUEST, port, 80)]);
    bench.send(&packet(RESPONSE, port, 80));
    let mut line = [0; "OK 1073741824\n".len()];
    host.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"OK 1073741824\n");
    bench.look();
    assert_eq!(
        bench.heard(),
        [Packet(RW, port, 80, 0, b"early".to_vec())],
        "what follows the line is the guest's"
    );
    drop(host);
    bench.look();
    assert_eq!(
        bench.heard(),
        [Packet(SHUTDOWN, port, 80, SENDS | RECEIVES, Vec::new())]
    );
}

#[test]
fn who_is_refused_is_told() {
    let mut bench = Bench::new();
    let mut host = UnixStream::connect(bench.dir.path().join("vsock")).unwrap();
    host.write_all(b"CONNECT 80\n").unwrap();
    bench.look();
    assert_eq!(bench.heard().len(), 1);
    bench.send(&packet(RST, 1 << 30, 80));
    assert_eq!(host.read(&mut [0]).unwrap(), 0, "closed without a word");
    for op in [REQUEST, RESPONSE, SHUTDOWN, RW, CREDIT_UPDATE, 0, 99] {
        bench.send(&packet(op, 7, 8));
        assert_eq!(bench.heard(), [packet(RST, 7, 8)], "nobody is there: {op}");
    }
    bench.send(&packet(RST, 7, 8));
    assert_eq!(bench.heard(), []);
    bench.cid = 4;
    bench.send(&packet(REQUEST, 7, 8));
    assert_eq!(bench.heard(), [], "somebody else");
}

#[test]
fn the_guest_is_sent_what_it_has_room_for() {
    let mut bench = Bench::new();
    let mut host = bench.connected();
    host.write_all(&vec![1; 3 * CREDIT as usize]).unwrap();
    let mut came = 0;
    for round in 1..4 {
        bench.look();
        for Packet(op, .., data) in bench.heard() {
            assert_eq!(op, RW);
            came += data.len() as u32;
        }
        assert_eq!(came, round * CREDIT);
        bench.look();
        assert_eq!(bench.heard(), [], "not a byte more");
        bench.read = came;
        bench.send(&packet(CREDIT_UPDATE, 52, 1000));
    }
}

#[test]
fn a_reader_that_waits_costs_a_bounded_buffer() {
    let mut bench = Bench::new();
    let mut host = bench.connected();
    let part = vec![9; 60_000];
    let mut sent = 0;
    // What the socket takes, and the buffer that the device has told of; more is not the guest's to send.
    let refused = loop {
        bench.send(&data(&part));
        sent += part.len();
        let heard = bench.heard();
        if heard.contains(&packet(RST, 52, 1000)) {
            break heard;
        }
        assert!(sent < 4 << 20, "it takes everything");
    };
    assert!(sent > 256 << 10, "{sent}");
    assert_eq!(refused.len(), 1);
    let mut bytes = Vec::new();
    host.read_to_end(&mut bytes).unwrap();
    assert!(bytes.len() < sent);
}

#[test]
fn a_slow_reader_gets_all_of_what_the_guest_left() {
    let mut bench = Bench::new();
    let mut host = bench.connected();
    host.set_nonblocking(true).unwrap();
    let part = vec![9; 60_000];
    let mut sent = 0;
    for _ in 0..5 {
        bench.send(&data(&part));
        sent += part.len();
    }
    bench.send(&shutdown(SENDS | RECEIVES));
    bench.send(&packet(RST, 52, 1000));
    let answered = bench.heard().contains(&packet(RST, 52, 1000));
    assert!(!answered, "the socket took all of it: this tests nothing");
    let (mut came, mut bytes) = (0, vec![0; 1 << 20]);
    loop {
        match host.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => came += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => bench.look(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(came, sent);
}

#[test]
fn connections_are_counted_and_closed() {
    let mut bench = Bench::new();
    let listener = bench.listen(52);
    listener.set_nonblocking(true).unwrap();
    let mut streams = Vec::new();
    for guest in 0..128 {
        bench.send(&packet(REQUEST, 52, guest));
        assert_eq!(bench.heard(), [packet(RESPONSE, 52, guest)]);
        streams.push(listener.accept().unwrap().0);
    }
    bench.send(&packet(REQUEST, 52, 128));
    assert_eq!(bench.heard(), [packet(RST, 52, 128)]);
    bench.send(&packet(RST, 52, 5));
    bench.send(&packet(REQUEST, 52, 128));
    assert_eq!(bench.heard(), [packet(RESPONSE, 52, 128)]);
    bench.device.reset();
    for mut stream in streams {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "a reset closes all");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_conversation_is_survived(
        said in vec((0_u16..9, 0_u32..3, 0_u32..4, 0_usize..3000, any::<u32>(), any::<u32>()), 0..200),
    ) {
        let mut bench = Bench::new();
        let listener = bench.listen(52);
        listener.set_nonblocking(true).unwrap();
        let mut streams = Vec::new();
        for (op, guest, flags, len, credit, read) in said {
            (bench.credit, bench.read) = (credit, read);
            bench.send(&Packet(op, 52, guest, flags, vec![0; len]));
            if let Ok((mut stream, _)) = listener.accept() {
                stream.write_all(&[1; 5000]).unwrap();
                streams.push(stream);
            }
            if flags == 3 && op > 5 {
                // Some of the host's programs leave without a word.
                streams.truncate(streams.len() / 2);
            }
            bench.look();
            bench.heard();
        }
        // Whoever is left is let go.
        bench.device.reset();
        for mut stream in streams {
            // With an error if it had said something that nobody heard; a stream that was kept would never end.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}
