//! A network card's packets, when the driver's room for them is less than they need.

use super::{BUFFERS, Driver, LENGTH, WRITE, begin};
use crate::devices::net::Net;
use crate::devices::virtio::device::Device;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

/// Feature: a packet may lie in several buffers (virtio 1.2, 5.1.3).
const MRG_RXBUF: u64 = 1 << 15;

/// A card with packets of these lengths waiting, and the other end of its wire.
pub(super) fn card(lengths: &[usize]) -> (Net, UnixDatagram) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    for &len in lengths {
        theirs.send(&vec![7; len]).unwrap();
    }
    (
        Net::on(File::from(OwnedFd::from(ours)), [2, 0, 0, 0, 0, 1]),
        theirs,
    )
}

#[test]
fn a_packet_waits_for_all_of_its_room() {
    let (mut net, _wire) = card(&[1000]);
    let mut driver = Driver::new(2);
    let mut io = driver.io(MRG_RXBUF);
    driver.request(0, &[(BUFFERS, 600, true)]);
    net.polled(&mut io, &[]).unwrap();
    assert_eq!(driver.used(0), (0, 0), "half of the room");
    driver.descriptor(0, 1, (BUFFERS + 0x1000, 600, WRITE, 0));
    driver.offer(0, 1);
    net.notified(&mut io).unwrap();
    assert_eq!(driver.used(0), (2, 400));
    assert_eq!(driver.get(BUFFERS + 10), [2, 0], "the header's num_buffers");
}

#[test]
fn a_packet_larger_than_all_room_is_lost() {
    let (mut net, wire) = card(&[1000]);
    let mut driver = Driver::new(2);
    let mut io = driver.io(MRG_RXBUF);
    for _ in 0..LENGTH {
        driver.request(0, &[(BUFFERS, 20, true)]);
    }
    net.polled(&mut io, &[]).unwrap();
    assert_eq!(driver.used(0), (LENGTH, 0), "given back empty");
    // The next one is not held up.
    wire.send(&[7; 60]).unwrap();
    driver.request(0, &[(BUFFERS, 100, true)]);
    begin(&mut io);
    net.polled(&mut io, &[]).unwrap();
    assert_eq!(driver.used(0), (LENGTH + 1, 60));
}
