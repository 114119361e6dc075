//! A network card on a tap (virtio 1.2, 5.1): unfinished checksums and large segments in both directions, received in as
//! many buffers as a packet needs.

mod address;
mod tap;

use super::virtio::config::Config;
use super::virtio::device::Device;
use super::virtio::io::Io;
use super::virtio::queue::{Chain, Fault};
use crate::base::cast::to_u32;
use crate::error::Result;
pub use address::Address;
use rustix::event::{PollFd, PollFlags};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::mem::offset_of;
use std::sync::Arc;
use tap::HEADER;
use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
    VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF,
    virtio_net_hdr_mrg_rxbuf,
};

/// Feature bits: checksums and segmentation that the host completes, those that the guest completes, the MAC address, and
/// packets in several buffers.
const CSUM: u64 = 1 << VIRTIO_NET_F_CSUM;
const GUEST_CSUM: u64 = 1 << VIRTIO_NET_F_GUEST_CSUM;
const MAC: u64 = 1 << VIRTIO_NET_F_MAC;
const GUEST_TSO4: u64 = 1 << VIRTIO_NET_F_GUEST_TSO4;
const GUEST_TSO6: u64 = 1 << VIRTIO_NET_F_GUEST_TSO6;
const HOST_TSO4: u64 = 1 << VIRTIO_NET_F_HOST_TSO4;
const HOST_TSO6: u64 = 1 << VIRTIO_NET_F_HOST_TSO6;
const MRG_RXBUF: u64 = 1 << VIRTIO_NET_F_MRG_RXBUF;

/// The virtqueues' indices, and their sizes.
const RX: usize = 0;
const TX: usize = 1;
const QUEUE_SIZE: u16 = 256;

/// The largest packet with its header: 64 KiB of segment behind an Ethernet header.
const LARGEST: usize = HEADER + 14 + 65536;

/// Where the header says in how many buffers a packet lies.
const NUM_BUFFERS: usize = offset_of!(virtio_net_hdr_mrg_rxbuf, num_buffers);

/// A network card to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// The tap's name.
    pub tap: String,
    /// The guest's IPv4 address, set before PID 1 runs.
    pub address: Option<Address>,
    /// The guest's MAC address; otherwise it is made of the IPv4 address or of the tap's name.
    pub mac: Option<[u8; 6]>,
}

impl Card {
    /// The MAC address, locally administered.
    fn mac_address(&self) -> [u8; 6] {
        // FNV-1a: taps with different names get different addresses.
        let hash = || {
            self.tap.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            })
        };
        self.mac.unwrap_or_else(|| {
            let [a, b, c, d] = match self.address {
                Some(address) => address.ip.octets(),
                None => hash().to_be_bytes(),
            };
            [0x06, 0, a, b, c, d]
        })
    }
}

/// The device.
#[derive(Debug)]
pub struct Net {
    tap: File,
    mac: [u8; 6],
    /// A packet from the tap that the driver has not got yet, and its length; 0 for none.
    packet: Box<[u8]>,
    len: usize,
}

impl Net {
    /// Opens the tap.
    ///
    /// # Errors
    /// What could not be done, and what to do about it.
    pub fn open(card: &Card) -> Result<Self> {
        Ok(Self::on(
            tap::open(&card.tap, card.address.as_ref())?,
            card.mac_address(),
        ))
    }

    /// A card on a non-blocking descriptor that reads and writes one packet at a time.
    #[must_use]
    pub fn on(tap: File, mac: [u8; 6]) -> Self {
        Net {
            tap,
            mac,
            packet: vec![0; LARGEST].into(),
            len: 0,
        }
    }

    /// Passes packets on until the tap has no more, or the driver no buffers.
    fn receive(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        loop {
            if self.len == 0 {
                match self.tap.read(&mut self.packet) {
                    Ok(len) if len > HEADER => self.len = len,
                    Ok(0) => break,
                    Ok(_) => continue,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(Fault::Host("reading the tap", error)),
                }
            }
            // Without buffers the packet waits, and those behind it in the tap, until the driver offers more.
            if !self.deliver(io)? {
                break;
            }
        }
        io.queues[RX].notify_driver(&io.memory, &io.interrupt)
    }

    /// Hands the packet to the driver; false if there are too few buffers for it now.
    fn deliver(&mut self, io: &mut Io) -> std::result::Result<bool, Fault> {
        let (memory, queue) = (&io.memory, &mut io.queues[RX]);
        let mut chains: Vec<Chain<'_>> = Vec::new();
        let mut space = 0;
        while space < self.len {
            let Some(chain) = queue.pop(memory)? else {
                if chains.len() == queue.size() {
                    // These are all the buffers that there can be.
                    break;
                }
                // Before the chains become available again: the driver then notifies of those behind them.
                if queue.enable_notification(memory)? {
                    continue;
                }
                chains.iter().for_each(|_| queue.undo_pop());
                return Ok(false);
            };
            space += chain.writable.len();
            chains.push(chain);
            if io.features & MRG_RXBUF == 0 {
                break;
            }
        }
        let count = u16::try_from(chains.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes();
        self.packet[NUM_BUFFERS..HEADER].copy_from_slice(&count);
        let mut rest = &self.packet[..self.len];
        if space < self.len {
            // All buffers together are too small: the packet is dropped, not truncated.
            rest = &[];
        }
        for mut chain in chains {
            let written = chain.writable.write(rest);
            rest = &rest[written..];
            queue.add_used(memory, chain.head(), to_u32(written))?;
        }
        self.len = 0;
        Ok(true)
    }
}

impl Device for Net {
    fn id(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn name(&self) -> &'static str {
        "network card"
    }

    fn features(&self) -> u64 {
        CSUM | GUEST_CSUM | MAC | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6 | MRG_RXBUF
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn config(&self) -> Arc<Config> {
        Config::new(self.mac.to_vec())
    }

    fn activate(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let has = |feature| io.features & feature != 0;
        tap::set_offloads(&self.tap, has(GUEST_CSUM), has(GUEST_TSO4), has(GUEST_TSO6))
            .map_err(|error| Fault::Host("TUNSETOFFLOAD", error))
    }

    fn notified(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let tap = &self.tap;
        io.queues[TX].serve(&io.memory, &io.interrupt, |chain| {
            // A packet that the host does not take (a broken header, no buffers) is lost, as on a wire.
            let _ = chain.readable.send(tap);
            Ok(0)
        })?;
        if self.len > 0 {
            self.receive(io)?;
        }
        Ok(())
    }

    fn sources(&self) -> Vec<PollFd<'_>> {
        if self.len > 0 {
            return Vec::new();
        }
        vec![PollFd::new(&self.tap, PollFlags::IN)]
    }

    fn polled(&mut self, io: &mut Io, _events: &[PollFlags]) -> std::result::Result<(), Fault> {
        self.receive(io)
    }

    fn reset(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_differ() {
        let card = |tap: &str| Card {
            tap: tap.to_owned(),
            ..Card::default()
        };
        assert_ne!(card("tap0").mac_address(), card("tap1").mac_address());
    }
}
