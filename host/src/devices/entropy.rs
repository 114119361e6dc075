//! Randomness from the host (virtio 1.2, 5.4).

use super::ring::{Chain, Fault};
use super::worker::Io;
use super::{Config, Device};
use rustix::rand::{GetRandomFlags, getrandom};
use std::sync::Arc;

/// The most bytes of one request that are served at once; a driver that wants more asks again.
const MOST: usize = 4096;

/// The host's generator.
#[derive(Debug)]
pub struct Entropy;

impl Device for Entropy {
    fn kind(&self) -> u32 {
        4
    }

    fn name(&self) -> &'static str {
        "entropy source"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &'static [u16] {
        &[16]
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }

    fn rung(&mut self, io: &mut Io) -> Result<(), Fault> {
        io.rings[0].serve(&io.view, &io.interrupt, fill)
    }
}

fn fill(mut chain: Chain<'_>) -> Result<u32, Fault> {
    let mut bytes = [0; MOST];
    let wanted = chain.writable.len().min(MOST);
    let got = getrandom(&mut bytes[..wanted], GetRandomFlags::empty())
        .map_err(|error| Fault::Host("getrandom", error.into()))?;
    Ok(chain.writable.write(&bytes[..got]) as u32)
}
