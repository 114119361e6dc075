//! Memory that the guest does not use goes back to the host: a balloon (virtio 1.2, 5.5) that reports free pages, and is
//! never inflated.

use super::ring::Fault;
use super::worker::Io;
use super::{Config, Device};
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
