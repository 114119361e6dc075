//! Random numbers from the host (virtio 1.2, 5.4).

use super::virtio::config::Config;
use super::virtio::device::Device;
use super::virtio::io::Io;
use super::virtio::queue::{Chain, Fault};
use crate::base::cast::to_u32;
use rustix::rand::{GetRandomFlags, getrandom};
use std::sync::Arc;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

/// The most bytes of one request that are served at once; a driver that wants more asks again.
const MAX_REQUEST: usize = 4096;

/// The device.
#[derive(Debug)]
pub struct Entropy;

impl Device for Entropy {
    fn id(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn name(&self) -> &'static str {
        "entropy source"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[16]
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }

    fn notified(&mut self, io: &mut Io) -> Result<(), Fault> {
        io.queues[0].serve(&io.memory, &io.interrupt, fill)
    }
}

fn fill(mut chain: Chain<'_>) -> Result<u32, Fault> {
    let mut bytes = [0; MAX_REQUEST];
    let wanted = chain.writable.len().min(MAX_REQUEST);
    let got = getrandom(&mut bytes[..wanted], GetRandomFlags::empty())
        .map_err(|error| Fault::Host("getrandom", error.into()))?;
    Ok(to_u32(chain.writable.write(&bytes[..got])))
}
