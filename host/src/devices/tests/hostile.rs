//! A driver that writes whatever it likes: each device serves it or gives up, and neither panics nor hangs nor touches
//! what is not guest memory.

use super::super::virtio::mmio::Transport;
use super::super::{balloon, block, console, entropy};
use super::{AVAILABLE, Driver, LENGTH, NEXT, TABLE, USED, WRITE, card, vsock};
use crate::base::cast::low32;
use crate::devices::irqchip::Controller;
use crate::devices::virtio::device::Device;
use crate::devices::virtio::interrupt::Interrupt;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Each kind of device, on something that it may ruin.
fn device(kind: usize) -> Box<dyn Device> {
    match kind {
        0 => {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(1 << 20).unwrap();
            let disk = block::Disk {
                path: file.path().into(),
                ..block::Disk::default()
            };
            Box::new(block::Block::open(&disk).unwrap())
        }
        1 => Box::new(entropy::Entropy),
        4 => Box::new(balloon::Balloon),
        2 => {
            let input = File::open("/dev/zero").unwrap();
            let output = File::options().write(true).open("/dev/null").unwrap();
            let guest_ready = Arc::new(AtomicBool::new(true));
            Box::new(console::Console::new(input, output, &guest_ready))
        }
        3 => {
            // Its socket goes with the directory.
            let dir = tempfile::tempdir().unwrap();
            Box::new(vsock::open(dir.path()))
        }
        _ => Box::new(card::card(&[1, 60, 20_000]).0),
    }
}

/// How many kinds [`device`] knows.
const KINDS: usize = 6;

/// Addresses that are mostly memory, sometimes the queue's own parts, sometimes nothing.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0x10_0000_u64..0x20_0000,
        1 => 0x1_0000_u64..0x4_0000,
        1 => (8_u64 << 20) - 64..(8 << 20) + 64,
        1 => any::<u64>(),
    ]
}

fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let len = prop_oneof![3 => 0_u32..2048, 1 => 0_u32..1 << 20, 1 => any::<u32>()];
    let flags = prop_oneof![4 => 0..=(NEXT | WRITE), 1 => any::<u16>()];
    (address(), len, flags, 0..LENGTH + 2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_ring_is_served_or_given_up(
        kind in 0..KINDS,
        descriptors in vec(descriptor(), usize::from(LENGTH)),
        heads in vec(0..LENGTH + 2, usize::from(LENGTH)),
        index in prop_oneof![4 => 0..=LENGTH, 1 => any::<u16>()],
        start in vec(any::<u8>(), 64),
        features in any::<u64>(),
    ) {
        let mut device = device(kind);
        let driver = Driver::new(device.queue_sizes().len());
        for queue in 0..device.queue_sizes().len() {
            for (number, descriptor) in (0..).zip(&descriptors) {
                driver.descriptor(queue, number, *descriptor);
            }
            for (slot, head) in heads.iter().enumerate() {
                let at = Driver::part(queue, AVAILABLE) + 4 + 2 * slot as u64;
                driver.put(at, &head.to_le_bytes());
            }
            driver.put(Driver::part(queue, AVAILABLE) + 2, &index.to_le_bytes());
        }
        driver.put(0x10_0000, &start);
        let mut io = driver.io(features);
        let served = device.notified(&mut io).and_then(|()| device.polled(&mut io, &[]));
        // What it returned, it had been given.
        if served.is_ok() {
            for queue in 0..device.queue_sizes().len() {
                prop_assert!(driver.used(queue).0 <= index);
            }
        }
    }

    #[test]
    fn any_register_may_be_written(
        kind in 0..KINDS,
        accesses in vec((prop_oneof![0_u64..0x120, Just(0x70), Just(0x50)], any::<u32>(), 0_usize..9), 0..64),
        set_up: bool,
    ) {
        let driver = Driver::new(2);
        let controller = Arc::new(Controller::new(None, Some(6)));
        let interrupt = Interrupt::new(&controller, 5);
        let mut transport = Transport::new(device(kind), interrupt, driver.view.clone()).unwrap();
        transport.start(false).unwrap();
        let mut write = |offset, value: u32| transport.write(offset, &value.to_le_bytes());
        if set_up {
            // Version 1, then one queue where the tests' queues are, then ready.
            for (offset, value) in [(0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11), (0x30, 0), (0x38, 16),
                (0x80, low32(Driver::part(0, TABLE))), (0x90, low32(Driver::part(0, AVAILABLE))),
                (0xa0, low32(Driver::part(0, USED))), (0x44, 1), (0x70, 15)] {
                write(offset, value);
            }
        }
        for (offset, value, len) in accesses {
            let mut data = [0; 8];
            data[..4].copy_from_slice(&value.to_le_bytes());
            transport.write(offset, &data[..len.min(8)]);
            transport.read(offset, &mut data[..len.min(8)]);
        }
    }
}

#[test]
fn a_chain_that_goes_round_ends_the_device() {
    let mut driver = Driver::new(1);
    driver.descriptor(0, 0, (0x10_0000, 16, NEXT, 1));
    driver.descriptor(0, 1, (0x10_0000, 16, NEXT, 0));
    driver.offer(0, 0);
    let fault = driver.notify(&mut entropy::Entropy).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "a descriptor chain is broken: it has no end"
    );
}

#[test]
fn a_buffer_outside_of_memory_ends_the_device() {
    for (at, len) in [((8 << 20) - 8, 16), (u64::MAX, 1), (0xd000_1000, 4)] {
        let mut driver = Driver::new(1);
        driver.request(0, &[(at, len, true)]);
        let fault = driver.notify(&mut entropy::Entropy).unwrap_err();
        assert!(fault.to_string().contains("outside of memory"), "{fault}");
    }
}

#[test]
fn an_index_out_of_order_ends_the_device() {
    let driver = Driver::new(1);
    driver.put(Driver::part(0, AVAILABLE) + 2, &(LENGTH + 1).to_le_bytes());
    assert!(driver.notify(&mut entropy::Entropy).is_err());
}
