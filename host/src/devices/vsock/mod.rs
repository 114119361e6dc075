//! Sockets between guest and host without a network (virtio 1.2, 5.10): streams, on Unix sockets of the host.
//!
//! A guest makes the host keep no more than so many connections, so many bytes of each, and so many refusals.

mod connection;
mod link;
mod packet;
mod socket;
mod table;

use super::ring::{Chain, Fault};
use super::worker::Io;
use super::{Config, Device};
use crate::error::{Error, Result};
use crate::seccomp::Filter;
use packet::Packet;
use rustix::event::{PollFd, PollFlags};
use socket::Socket;
use std::path::PathBuf;
use std::sync::Arc;
use table::{Source, Table};

/// Feature: streams.
const FEATURE_STREAM: u64 = 1 << 0;

/// Queues by number, and their lengths. The third is for news of a migration, of which there are none.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE: u16 = 256;

/// Sockets to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// The guest's address: 3 to 2^32 - 2.
    pub cid: u32,
    /// Where the host's programs connect to; with `_port` behind it, where they listen.
    pub path: PathBuf,
    /// What will be the root when the guest runs, if it is another: the path is in there.
    pub jail: Option<PathBuf>,
}

/// The device.
#[derive(Debug)]
pub struct Vsock {
    cid: u32,
    table: Table,
}

impl Vsock {
    /// Listens for the host's programs.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn open(sockets: &Sockets) -> Result<Self> {
        let cid = sockets.cid;
        if !(3..u32::MAX).contains(&cid) {
            return Err(Error::Device(format!(
                "--vsock cid={cid}: a guest's address is 3 to 4294967294"
            )));
        }
        let socket = Socket::listen(&sockets.path, sockets.jail.as_deref())?;
        Ok(Vsock {
            cid,
            table: Table::new(cid, socket),
        })
    }

    /// Takes a packet of the guest's.
    fn hear(&mut self, mut chain: Chain<'_>) -> std::result::Result<u32, Fault> {
        let header = chain.readable.array();
        let packet = header
            .map(Packet::parse)
            .ok_or(Fault::Chain("a packet has no header"))?;
        let data = chain.readable.take(packet.len as usize);
        let data = data.ok_or(Fault::Chain("a packet is shorter than it says"))?;
        self.table.hear(&packet, data);
        Ok(0)
    }

    /// Tells the guest all that there is to say, or as much as it has room for.
    fn speak(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let (view, ring) = (&io.view, &mut io.rings[RECEIVE]);
        while self.table.speaks() {
            let Some(chain) = ring.pop(view)? else {
                if ring.rearm(view)? {
                    continue;
                }
                break;
            };
            let head = chain.head();
            match self.table.say(chain.writable)? {
                Some(len) => ring.push(view, head, len)?,
                None => ring.undo_pop(),
            }
        }
        ring.signal(view, &io.interrupt)
    }
}

impl Device for Vsock {
    fn kind(&self) -> u32 {
        19
    }

    fn name(&self) -> &'static str {
        "vsock"
    }

    fn features(&self) -> u64 {
        FEATURE_STREAM
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE, QUEUE, 16]
    }

    fn config(&self) -> Arc<Config> {
        Config::new(u64::from(self.cid).to_le_bytes().to_vec())
    }

    fn rung(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        io.rings[TRANSMIT].serve(&io.view, &io.interrupt, |chain| self.hear(chain))?;
        self.speak(io)
    }

    fn sources(&self) -> Vec<PollFd<'_>> {
        self.table.watched().map(|(_, interest)| interest).collect()
    }

    fn polled(&mut self, io: &mut Io, events: &[PollFlags]) -> std::result::Result<(), Fault> {
        let woken: Vec<(Source, PollFlags)> = self
            .table
            .watched()
            .zip(events)
            .filter(|(_, events)| !events.is_empty())
            .map(|((source, _), events)| (source, *events))
            .collect();
        for (source, events) in woken {
            self.table.polled(source, events);
        }
        self.speak(io)
    }

    fn filter(&self) -> Filter {
        Filter::Sockets
    }

    fn reset(&mut self) {
        self.table.clear();
    }
}
