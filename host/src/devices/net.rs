//! A network card on a tap (virtio 1.2, 5.1): packets with unfinished checksums and large segments in both directions,
//! received in as many buffers as it takes.

use super::ring::{Chain, Fault};
use super::tap::{self, HEADER};
use super::worker::Io;
use super::{Config, Device};
use crate::error::Result;
use rustix::event::{PollFd, PollFlags};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Features: checksums and segments that the host finishes, those that the guest does, the hardware address, packets
/// over several buffers.
const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const MRG_RXBUF: u64 = 1 << 15;

/// Queues by number, and their lengths.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE: u16 = 256;

/// The largest packet with its header: 64 KiB of segment behind an Ethernet header.
const LARGEST: usize = HEADER + 14 + 65536;

/// Where the header says how many buffers a packet took.
const BUFFERS: usize = 10;

/// A network card to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// The tap's name.
    pub tap: String,
    /// The guest's address, set before PID 1 runs.
    pub address: Option<Address>,
    /// The guest's hardware address; made of its other address or the tap's name otherwise.
    pub mac: Option<[u8; 6]>,
}

/// A guest's IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its own.
    pub ip: Ipv4Addr,
    /// How many bits of it are the network's.
    pub prefix: u8,
    /// Where everything else is reached.
    pub gateway: Option<Ipv4Addr>,
}

impl Address {
    /// The network mask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        let host_bits = 32_u32.saturating_sub(self.prefix.into());
        Ipv4Addr::from(u32::MAX.checked_shl(host_bits).unwrap_or(0))
    }

    /// What the kernel's command line says of it.
    #[must_use]
    pub fn command_line(&self) -> String {
        let gateway = self.gateway.map(|gateway| gateway.to_string());
        let (ip, mask) = (self.ip, self.mask());
        format!(" ip={ip}::{}:{mask}:::off", gateway.unwrap_or_default())
    }
}

impl Card {
    /// Its hardware address, locally administered.
    fn hardware_address(&self) -> [u8; 6] {
        // FNV-1a: taps with different names have different neighbours.
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

/// A card on its tap.
#[derive(Debug)]
pub struct Net {
    tap: File,
    mac: [u8; 6],
    /// A packet from the tap, and its length; 0 for none.
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
            card.hardware_address(),
        ))
    }

    /// A card on a descriptor that gives and takes a packet at a time without waiting.
    #[must_use]
    pub fn on(tap: File, mac: [u8; 6]) -> Self {
        Net {
            tap,
            mac,
            packet: vec![0; LARGEST].into(),
            len: 0,
        }
    }

    /// Passes packets on until there are no more, or no room.
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
            // Without room the packet waits, and the tap behind it, until the driver gives more.
            if !self.deliver(io)? {
                break;
            }
        }
        io.rings[RECEIVE].signal(&io.view, &io.interrupt)
    }

    /// Hands the packet to the driver; false if there is no room for it now.
    fn deliver(&mut self, io: &mut Io) -> std::result::Result<bool, Fault> {
        let (view, ring) = (&io.view, &mut io.rings[RECEIVE]);
        let mut chains: Vec<Chain<'_>> = Vec::new();
        let mut room = 0;
        while room < self.len {
            let Some(chain) = ring.pop(view)? else {
                if chains.len() == ring.size() {
                    // All the room that there can be.
                    break;
                }
                // Asked before the chains are given back: the driver rings for those beyond them.
                if ring.rearm(view)? {
                    continue;
                }
                chains.iter().for_each(|_| ring.undo_pop());
                return Ok(false);
            };
            room += chain.writable.len();
            chains.push(chain);
            if io.features & MRG_RXBUF == 0 {
                break;
            }
        }
        let count = (chains.len() as u16).to_le_bytes();
        self.packet[BUFFERS..HEADER].copy_from_slice(&count);
        let mut rest = &self.packet[..self.len];
        if room < self.len {
            // Too small for it, and there will be no more: the packet is lost, not cut.
            rest = &[];
        }
        for mut chain in chains {
            let written = chain.writable.write(rest);
            rest = &rest[written..];
            ring.push(view, chain.head(), written as u32)?;
        }
        self.len = 0;
        Ok(true)
    }
}

impl Device for Net {
    fn kind(&self) -> u32 {
        1
    }

    fn name(&self) -> &'static str {
        "network card"
    }

    fn features(&self) -> u64 {
        CSUM | GUEST_CSUM | MAC | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6 | MRG_RXBUF
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE, QUEUE]
    }

    fn config(&self) -> Arc<Config> {
        Config::new(self.mac.to_vec())
    }

    fn start(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let has = |feature| io.features & feature != 0;
        tap::set_offloads(&self.tap, has(GUEST_CSUM), has(GUEST_TSO4), has(GUEST_TSO6))
            .map_err(|error| Fault::Host("TUNSETOFFLOAD", error))
    }

    fn rung(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let tap = &self.tap;
        io.rings[TRANSMIT].serve(&io.view, &io.interrupt, |chain| {
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
    fn the_kernel_is_told_the_address() {
        let mut address = Address {
            ip: Ipv4Addr::new(10, 0, 0, 2),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
        };
        assert_eq!(
            address.command_line(),
            " ip=10.0.0.2::10.0.0.1:255.255.255.0:::off"
        );
        (address.prefix, address.gateway) = (0, None);
        assert_eq!(address.command_line(), " ip=10.0.0.2:::0.0.0.0:::off");
    }

    #[test]
    fn hardware_addresses_differ() {
        let card = |tap: &str| Card {
            tap: tap.to_owned(),
            ..Card::default()
        };
        assert_ne!(
            card("tap0").hardware_address(),
            card("tap1").hardware_address()
        );
    }
}
