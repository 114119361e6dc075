//! Connections between a driver that is written by hand and Unix sockets, which take and give at once.

mod harness;

use crate::base::cast::to_u32;
use crate::devices::virtio::device::Device;
pub(super) use harness::open;
use harness::{
    CREDIT, CREDIT_UPDATE, Harness, Packet, RECEIVES, REQUEST, RESPONSE, RST, RW, SENDS, SHUTDOWN,
    packet,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::{ErrorKind, Read, Write};

/// Five of these are more than a socket takes.
static PART: [u8; 60_000] = [9; 60_000];

fn data(bytes: &[u8]) -> Packet {
    Packet(RW, 52, 1000, 0, bytes.to_vec())
}

fn shutdown(flags: u32) -> Packet {
    Packet(SHUTDOWN, 52, 1000, flags, Vec::new())
}

#[test]
fn the_guest_connects_and_both_talk() {
    let (mut harness, mut host) = Harness::connected();
    harness.send(&data(b"hello"));
    let mut bytes = [0; 5];
    host.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    host.write_all(b"and you").unwrap();
    assert_eq!(harness.looked(), [data(b"and you")]);
    // One way ends, and then the other.
    host.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(harness.looked(), [shutdown(SENDS)]);
    harness.send(&data(b"still"));
    assert_eq!(
        harness.answer(&shutdown(SENDS | RECEIVES)),
        [packet(RST, 52, 1000)]
    );
    let mut rest = String::new();
    host.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "still");
}

#[test]
fn the_host_connects_by_saying_where_to() {
    let mut harness = Harness::new();
    let mut host = harness.dial(b"CONN");
    harness.look();
    host.write_all(b"ECT 80\nearly").unwrap();
    harness.look();
    let port = 1 << 30;
    assert_eq!(harness.received(), [packet(REQUEST, port, 80)]);
    harness.send(&packet(RESPONSE, port, 80));
    let mut line = [0; "OK 1073741824\n".len()];
    host.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"OK 1073741824\n");
    assert_eq!(
        harness.looked(),
        [Packet(RW, port, 80, 0, b"early".to_vec())],
        "what follows the line is the guest's"
    );
    drop(host);
    assert_eq!(
        harness.looked(),
        [Packet(SHUTDOWN, port, 80, SENDS | RECEIVES, Vec::new())]
    );
}

#[test]
fn who_is_refused_is_told() {
    let mut harness = Harness::new();
    let mut host = harness.dial(b"CONNECT 80\n");
    assert_eq!(harness.looked().len(), 1);
    harness.send(&packet(RST, 1 << 30, 80));
    assert_eq!(host.read(&mut [0]).unwrap(), 0, "closed without a word");
    for op in [REQUEST, RESPONSE, SHUTDOWN, RW, CREDIT_UPDATE, 0, 99] {
        assert_eq!(
            harness.answer(&packet(op, 7, 8)),
            [packet(RST, 7, 8)],
            "nobody is there: {op}"
        );
    }
    assert_eq!(harness.answer(&packet(RST, 7, 8)), []);
    harness.cid = 4;
    assert_eq!(harness.answer(&packet(REQUEST, 7, 8)), [], "somebody else");
}

#[test]
fn the_guest_is_sent_what_it_has_room_for() {
    let (mut harness, mut host) = Harness::connected();
    host.write_all(&vec![1; 3 * CREDIT as usize]).unwrap();
    let mut came = 0;
    for round in 1..4 {
        for Packet(op, .., data) in harness.looked() {
            assert_eq!(op, RW);
            came += to_u32(data.len());
        }
        assert_eq!(came, round * CREDIT);
        assert_eq!(harness.looked(), [], "not a byte more");
        harness.read = came;
        harness.send(&packet(CREDIT_UPDATE, 52, 1000));
    }
}

#[test]
fn a_reader_that_waits_costs_a_bounded_buffer() {
    let (mut harness, mut host) = Harness::connected();
    let mut sent = 0;
    // What the socket takes, and the buffer that the device has told of; more is not the guest's to send.
    let refused = loop {
        let received = harness.answer(&data(&PART));
        sent += PART.len();
        if received.contains(&packet(RST, 52, 1000)) {
            break received;
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
    let (mut harness, mut host) = Harness::connected();
    host.set_nonblocking(true).unwrap();
    let mut sent = 0;
    for _ in 0..5 {
        harness.send(&data(&PART));
        sent += PART.len();
    }
    harness.send(&shutdown(SENDS | RECEIVES));
    harness.send(&packet(RST, 52, 1000));
    let answered = harness.received().contains(&packet(RST, 52, 1000));
    assert!(!answered, "the socket took all of it: this tests nothing");
    let (mut came, mut bytes) = (0, vec![0; 1 << 20]);
    loop {
        match host.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => came += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => harness.look(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(came, sent);
}

#[test]
fn connections_are_counted_and_closed() {
    let mut harness = Harness::new();
    let listener = harness.listen(52);
    let mut streams = Vec::new();
    for guest in 0..128 {
        assert_eq!(
            harness.answer(&packet(REQUEST, 52, guest)),
            [packet(RESPONSE, 52, guest)]
        );
        streams.push(listener.accept().unwrap().0);
    }
    assert_eq!(
        harness.answer(&packet(REQUEST, 52, 128)),
        [packet(RST, 52, 128)]
    );
    harness.send(&packet(RST, 52, 5));
    assert_eq!(
        harness.answer(&packet(REQUEST, 52, 128)),
        [packet(RESPONSE, 52, 128)]
    );
    harness.device.reset();
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
        let mut harness = Harness::new();
        let listener = harness.listen(52);
        let mut streams = Vec::new();
        for (op, guest, flags, len, credit, read) in said {
            (harness.credit, harness.read) = (credit, read);
            harness.send(&Packet(op, 52, guest, flags, vec![0; len]));
            if let Ok((mut stream, _)) = listener.accept() {
                stream.write_all(&[1; 5000]).unwrap();
                streams.push(stream);
            }
            if flags == 3 && op > 5 {
                // Some of the host's programs leave without a word.
                streams.truncate(streams.len() / 2);
            }
            harness.looked();
        }
        // Whoever is left is let go.
        harness.device.reset();
        for mut stream in streams {
            // With an error if it had said something that nobody heard; a stream that was kept would never end.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}
