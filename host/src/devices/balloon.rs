//! Memory that the guest does not use goes back to the host: a balloon (virtio 1.2, 5.5) that reports free pages, and is
//! never inflated.

use super::ring::Fault;
use super::worker::Io;
use super::{Config, Device};
use crate::layout;
use std::sync::Arc;

/// Feature: the driver reports free pages.
const REPORTING: u64 = 1 << 5;

/// The specification numbers five queues, two of inflation, one of statistics, one of hints, and one of reports. Linux
/// numbers those that it uses, and so has the reports in the third. Of the third and those behind it one is used.
const REPORTS: usize = 2;

/// Linux reports no more than 32 stretches at once, and nothing to a queue with less room.
const QUEUE: u16 = 64;

/// Its configuration: pages wanted, pages given, the hints' command, what freed pages are filled with. All zero.
const CONFIG: usize = 16;

/// Linux reports nothing while less is free than this many stretches, as many as one report takes
/// (`PAGE_REPORTING_CAPACITY` of linux/page_reporting.h).
const STRETCHES: u64 = 32;

/// The largest stretch is a huge page: whole, so that none of the host's is broken up.
const MOST_ORDER: u32 = 9;

/// What a kernel is told that has a balloon and `memory` bytes: to report stretches of which [`STRETCHES`] are a sixteenth of
/// its memory. By itself it takes pageblocks, 4 MiB in a kernel without huge pages, and then reports nothing before 128 MiB
/// are free. An administrator's own order on the command line comes later, and wins.
#[must_use]
pub fn command_line(memory: u64) -> String {
    let pages = memory / layout::PAGE / 16 / STRETCHES;
    let order = pages.checked_ilog2().unwrap_or(0).min(MOST_ORDER);
    format!(" page_reporting.page_reporting_order={order}")
}

/// The device.
#[derive(Debug)]
pub struct Balloon;

impl Device for Balloon {
    fn kind(&self) -> u32 {
        5
    }

    fn name(&self) -> &'static str {
        "balloon"
    }

    fn features(&self) -> u64 {
        REPORTING
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE; 5]
    }

    fn config(&self) -> Arc<Config> {
        Config::new(vec![0; CONFIG])
    }

    fn rung(&mut self, io: &mut Io) -> Result<(), Fault> {
        for (number, ring) in io.rings.iter_mut().enumerate() {
            ring.serve(&io.view, &io.interrupt, |chain| {
                // Of pages that nobody asked for there is nothing to do but to take them.
                if number >= REPORTS {
                    chain.writable.discard();
                }
                Ok(0)
            })?;
        }
        Ok(())
    }
}
