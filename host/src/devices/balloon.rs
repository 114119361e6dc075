//! Memory that the guest does not use goes back to the host, by a balloon (virtio 1.2, 5.5) that is never inflated: it only
//! reports free pages.

use super::virtio::config::Config;
use super::virtio::device::Device;
use super::virtio::io::Io;
use super::virtio::queue::Fault;
use crate::layout;
use std::sync::Arc;
use virtio_bindings::virtio_ids::VIRTIO_ID_BALLOON;

/// Feature bit: the driver reports free pages (`VIRTIO_BALLOON_F_REPORTING` of linux/virtio_balloon.h).
const PAGE_REPORTING: u64 = 1 << 5;

/// The specification numbers five virtqueues: inflateq, deflateq, statsq, free_page_vq, reporting_vq. Linux numbers only
/// those that it uses, and so has reporting_vq third. All from the third on are taken for it, since only one is used.
const REPORTING_VQ: usize = 2;

/// Linux reports up to 32 blocks at once, and nothing to a smaller virtqueue.
const QUEUE_SIZE: u16 = 64;

/// The size of its configuration space: `num_pages`, `actual`, `free_page_hint_cmd_id`, `poison_val`. All are zero.
const CONFIG: usize = 16;

/// Linux reports nothing until this many blocks are free, as many as one report takes
/// (`PAGE_REPORTING_CAPACITY` of linux/page_reporting.h).
const BLOCKS: u64 = 32;

/// The order of the largest block: a huge page, whole, so that none of the host's is broken up.
const MAX_ORDER: u32 = 9;

/// The parameter for a kernel with a balloon and `memory` bytes, with a space in front: to report blocks of which 32 are a
/// sixteenth of its memory. By default it takes pageblocks, 4 MiB in a kernel without huge pages, and then reports nothing
/// before 128 MiB are free. An order that the user gives comes later on the command line, and wins.
#[must_use]
pub(crate) fn command_line(memory: u64) -> String {
    let pages = memory / layout::PAGE / 16 / BLOCKS;
    let order = pages.checked_ilog2().unwrap_or(0).min(MAX_ORDER);
    format!(" page_reporting.page_reporting_order={order}")
}

/// The device.
#[derive(Debug)]
pub struct Balloon;

impl Device for Balloon {
    fn id(&self) -> u32 {
        VIRTIO_ID_BALLOON
    }

    fn name(&self) -> &'static str {
        "balloon"
    }

    fn features(&self) -> u64 {
        PAGE_REPORTING
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE; 5]
    }

    fn config(&self) -> Arc<Config> {
        Config::new(vec![0; CONFIG])
    }

    fn notified(&mut self, io: &mut Io) -> Result<(), Fault> {
        let stop = &io.stop;
        for (number, queue) in io.queues.iter_mut().enumerate() {
            queue.serve(&io.memory, &io.interrupt, |chain| {
                // The host never asks for pages by the inflateq: they are accepted and left alone.
                if number >= REPORTING_VQ {
                    chain.writable.discard(stop);
                }
                Ok(0)
            })?;
        }
        Ok(())
    }
}
