//! Reports of free pages: what was reported is the host's, and not a byte beside it.

use super::{BUFFERS, Driver};
use crate::base::cast::{low32, to_usize};
use crate::devices::balloon::{Balloon, command_line};

const PAGE: u64 = 4096;

/// Which of four pages are zero after a report of a stretch on this queue.
fn cleared(queue: usize, at: u64, len: u32) -> [bool; 4] {
    let mut driver = Driver::new(5);
    driver.put(BUFFERS, &[0x55; to_usize(4 * PAGE)]);
    driver.request(queue, &[(at, len, true)]);
    driver.notify(&mut Balloon).unwrap();
    assert_eq!(driver.used(queue), (1, 0));
    [0, 1, 2, 3].map(|number| {
        let page: [u8; to_usize(PAGE)] = driver.get(BUFFERS + number * PAGE);
        let zero = page == [0; to_usize(PAGE)];
        assert!(zero || page == [0x55; to_usize(PAGE)], "page {number}");
        zero
    })
}

#[test]
fn whole_pages_are_given_back() {
    let middle = [false, true, true, false];
    for queue in [2, 3, 4] {
        assert_eq!(cleared(queue, BUFFERS + PAGE, low32(2 * PAGE)), middle);
    }
    // Of one and two halves, the one.
    let halves = cleared(4, BUFFERS + PAGE / 2, low32(2 * PAGE));
    assert_eq!(halves, [false, true, false, false]);
    assert_eq!(cleared(4, BUFFERS + 1, low32(PAGE)), [false; 4]);
}

#[test]
fn a_balloon_that_was_not_asked_for_is_not_filled() {
    for queue in [0, 1] {
        assert_eq!(cleared(queue, BUFFERS, low32(4 * PAGE)), [false; 4]);
    }
}

#[test]
fn several_stretches_are_one_report() {
    let mut driver = Driver::new(3);
    driver.put(BUFFERS, &[0x55; to_usize(6 * PAGE)]);
    let stretch = |number: u64| (BUFFERS + number * PAGE, low32(PAGE), true);
    driver.request(2, &[stretch(0), stretch(2), stretch(5)]);
    driver.notify(&mut Balloon).unwrap();
    for number in 0..6 {
        let [byte] = driver.get(BUFFERS + number * PAGE);
        assert_eq!(byte == 0, [0, 2, 5].contains(&number), "page {number}");
    }
}

#[test]
fn stretches_grow_with_the_memory_up_to_a_huge_page() {
    for (mib, order) in [(8, 2), (128, 6), (1024, 9), (3072, 9), (1 << 20, 9)] {
        let told = format!(" page_reporting.page_reporting_order={order}");
        assert_eq!(command_line(mib << 20), told, "{mib} MiB");
    }
}
