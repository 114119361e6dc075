//! Sockets between guest and host without a network (virtio 1.2, 5.10): streams, on Unix sockets of the host.
//!
//! The host keeps a bounded amount for a guest: so many connections, bytes of each, and RST packets.

mod connection;
mod link;
mod packet;
mod socket;
mod table;

use super::virtio::config::Config;
use super::virtio::device::Device;
use super::virtio::io::Io;
use super::virtio::queue::{Chain, Fault};
use crate::confine::seccomp::Filter;
use crate::error::{Error, Result};
use packet::Packet;
use rustix::event::{PollFd, PollFlags};
use socket::Socket;
use std::path::PathBuf;
use std::sync::Arc;
use table::{Source, Table};
use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;

/// Feature bit: streams (`VIRTIO_VSOCK_F_STREAM`).
const FEATURE_STREAM: u64 = 1 << 0;

/// The virtqueues' indices, and their sizes. The third is for events, of which there are none.
const RX: usize = 0;
const TX: usize = 1;
const QUEUE_SIZE: u16 = 256;

/// Sockets to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// The guest's CID: 3 to 2^32 - 2.
    pub cid: u32,
    /// Where programs of the host connect to; with `_port` appended, where they listen.
    pub path: PathBuf,
    /// The root by the time that the guest runs, if it is another: the path must be in there.
    pub jail: Option<PathBuf>,
}

/// The device.
#[derive(Debug)]
pub struct Vsock {
    cid: u32,
    table: Table,
}

impl Vsock {
    /// Listens for programs of the host.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn open(sockets: &Sockets) -> Result<Self> {
        let cid = sockets.cid;
        if !(3..u32::MAX).contains(&cid) {
            return Err(Error::Device(format!(
                "--vsock cid={cid}: a guest's CID is 3 to 4294967294"
            )));
        }
        let socket = Socket::listen(&sockets.path, sockets.jail.as_deref())?;
        Ok(Vsock {
            cid,
            table: Table::new(cid, socket),
        })
    }

    /// Takes a packet from the guest.
    fn receive(&mut self, mut chain: Chain<'_>) -> std::result::Result<u32, Fault> {
        let header = chain.readable.array();
        let packet = header
            .map(Packet::parse)
            .ok_or(Fault::Chain("a packet has no header"))?;
        let data = chain.readable.take(packet.len as usize);
        let data = data.ok_or(Fault::Chain("a packet is shorter than it says"))?;
        self.table.receive(&packet, data);
        Ok(0)
    }

    /// Sends the guest all packets that there are, or as many as it has buffers for.
    fn send(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let (memory, queue) = (&io.memory, &mut io.queues[RX]);
        while self.table.has_packet() {
            let Some(chain) = queue.pop(memory)? else {
                if queue.enable_notification(memory)? {
                    continue;
                }
                break;
            };
            let head = chain.head();
            match self.table.write_packet(chain.writable)? {
                Some(len) => queue.add_used(memory, head, len)?,
                None => queue.undo_pop(),
            }
        }
        queue.notify_driver(memory, &io.interrupt)
    }
}

impl Device for Vsock {
    fn id(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn name(&self) -> &'static str {
        "vsock"
    }

    fn features(&self) -> u64 {
        FEATURE_STREAM
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE, 16]
    }

    fn config(&self) -> Arc<Config> {
        Config::new(u64::from(self.cid).to_le_bytes().to_vec())
    }

    fn notified(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        io.queues[TX].serve(&io.memory, &io.interrupt, |chain| self.receive(chain))?;
        self.send(io)
    }

    fn sources(&self) -> Vec<PollFd<'_>> {
        self.table.sources().map(|(_, interest)| interest).collect()
    }

    fn polled(&mut self, io: &mut Io, events: &[PollFlags]) -> std::result::Result<(), Fault> {
        let ready: Vec<(Source, PollFlags)> = self
            .table
            .sources()
            .zip(events)
            .filter(|(_, events)| !events.is_empty())
            .map(|((source, _), events)| (source, *events))
            .collect();
        for (source, events) in ready {
            self.table.polled(source, events);
        }
        self.send(io)
    }

    fn filter(&self) -> Filter {
        Filter::Sockets
    }

    fn reset(&mut self) {
        self.table.clear();
    }
}
