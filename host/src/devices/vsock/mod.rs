//! Sockets between guest and host without a network (virtio 1.2, 5.10): streams, on Unix sockets of the host.
//!
//! A guest makes the host keep no more than so many connections, so many bytes of each, and so many refusals.

mod connection;
mod link;
mod packet;
mod socket;

use super::ring::{Chain, Fault};
use super::worker::Io;
use super::{Config, Device};
use crate::error::{Error, Result};
use crate::seccomp::Filter;
use connection::Connection;
use link::Link;
use packet::{End, HOST, Packet, REQUEST, RST, STREAM};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use socket::{Greeted, Greeting, Socket};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::path::PathBuf;
use std::sync::Arc;

/// Feature: streams.
const FEATURE_STREAM: u64 = 1 << 0;

/// Queues by number, and their lengths. The third is for news of a migration, of which there are none.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE: u16 = 256;

/// The most connections at once, those that are not established among them.
const MOST: usize = 128;

/// The most refusals that wait for room; more are not sent.
const REFUSALS: usize = 256;

/// The first of the host's ports for connections that the host asks for.
const FIRST_PORT: u32 = 1 << 30;

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

/// The host's port and the guest's.
type Ports = (u32, u32);

/// What the device waits for.
enum Source {
    Socket,
    Greeting(u32),
    Link(Ports),
}

/// The device.
#[derive(Debug)]
pub struct Vsock {
    cid: u64,
    socket: Socket,
    /// By the port of the host's that they will have.
    greetings: BTreeMap<u32, Greeting>,
    links: BTreeMap<Ports, Link>,
    refusals: VecDeque<Packet>,
    next_port: u32,
    /// Who spoke last, so that all have their turns.
    last: Ports,
}

impl Vsock {
    /// Listens for the host's programs.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn open(sockets: &Sockets) -> Result<Self> {
        if !(3..u32::MAX).contains(&sockets.cid) {
            return Err(Error::Device(format!(
                "--vsock cid={}: a guest's address is 3 to 4294967294",
                sockets.cid
            )));
        }
        Ok(Vsock {
            cid: sockets.cid.into(),
            socket: Socket::listen(&sockets.path, sockets.jail.as_deref())?,
            greetings: BTreeMap::new(),
            links: BTreeMap::new(),
            refusals: VecDeque::new(),
            next_port: FIRST_PORT,
            last: (0, 0),
        })
    }

    fn is_full(&self) -> bool {
        self.greetings.len() + self.links.len() >= MOST
    }

    /// What it waits for, always in the same order while nothing changes.
    fn watched(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let socket = (!self.is_full()).then(|| (Source::Socket, self.socket.interest()));
        let greetings = self.greetings.iter();
        let greetings = greetings.map(|(port, one)| (Source::Greeting(*port), one.interest()));
        let links = self.links.iter();
        let links =
            links.filter_map(|(ports, link)| Some((Source::Link(*ports), link.interest()?)));
        socket.into_iter().chain(greetings).chain(links)
    }

    /// Somebody on the host has connected, and is to say where to.
    fn accept(&mut self) {
        while !self.is_full()
            && let Some(greeting) = self.socket.accept()
        {
            let port = self.free_port();
            self.greet(port, greeting);
        }
    }

    /// A port of the host's that no connection has.
    fn free_port(&mut self) -> u32 {
        loop {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            let mut linked = self.links.range((port, 0)..=(port, u32::MAX));
            if !self.greetings.contains_key(&port) && linked.next().is_none() {
                return port;
            }
        }
    }

    fn greet(&mut self, port: u32, greeting: Greeting) {
        match greeting.read() {
            Greeted::Waits(greeting) => {
                self.greetings.insert(port, greeting);
            }
            Greeted::Wants(stream, wanted) => {
                let link = Link::new(stream, Connection::requested());
                self.links.insert((port, wanted), link);
            }
            Greeted::Nonsense => {}
        }
    }

    /// Takes a packet of the guest's.
    fn hear(&mut self, mut chain: Chain<'_>) -> std::result::Result<u32, Fault> {
        let header = chain.readable.array();
        let packet = header
            .map(Packet::parse)
            .ok_or(Fault::Chain("a packet has no header"))?;
        let data = chain.readable.take(packet.len as usize);
        let data = data.ok_or(Fault::Chain("a packet is shorter than it says"))?;
        // Who says to be somebody else gets no answer.
        if packet.from.cid != self.cid {
            return Ok(0);
        }
        let ports = (packet.to.port, packet.from.port);
        if packet.to.cid != HOST || packet.kind != STREAM {
            self.refuse(&packet);
        } else if let Some(link) = self.links.get_mut(&ports) {
            if !link.hear(&packet, data, ports.0) {
                self.links.remove(&ports);
                self.refuse(&packet);
            } else if link.is_over() {
                self.end(ports);
            }
        } else if let Some(stream) = self.answer(&packet) {
            let link = Link::new(stream, Connection::accepted(&packet));
            self.links.insert(ports, link);
        } else {
            self.refuse(&packet);
        }
        Ok(0)
    }

    /// What stands behind a connection that the guest asks for.
    fn answer(&self, packet: &Packet) -> Option<OwnedFd> {
        let asks = packet.op == REQUEST && !self.is_full();
        asks.then(|| self.socket.connect(packet.to.port)).flatten()
    }

    fn refuse(&mut self, packet: &Packet) {
        if packet.op != RST && self.refusals.len() < REFUSALS {
            self.refusals.push_back(packet.refusal());
        }
    }

    /// Ends a connection, and tells the guest.
    fn end(&mut self, ports: Ports) {
        self.links.remove(&ports);
        let packet = self.to_guest(ports);
        if self.refusals.len() < REFUSALS {
            self.refusals.push_back(Packet { op: RST, ..packet });
        }
    }

    /// A packet of a connection's, as far as it is the same for all.
    fn to_guest(&self, (host, guest): Ports) -> Packet {
        Packet {
            from: End {
                cid: HOST,
                port: host,
            },
            to: End {
                cid: self.cid,
                port: guest,
            },
            kind: STREAM,
            ..Packet::default()
        }
    }

    /// Who speaks to the guest next.
    fn speaker(&self) -> Option<Ports> {
        let behind = self.links.range((Excluded(self.last), Unbounded));
        let mut all = behind.chain(self.links.range(..=self.last));
        all.find(|(_, link)| link.speaks()).map(|(ports, _)| *ports)
    }

    /// Tells the guest all that there is to say, or as much as it has room for.
    fn speak(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        let (view, ring) = (&io.view, &mut io.rings[RECEIVE]);
        loop {
            let speaker = self.speaker();
            if self.refusals.is_empty() && speaker.is_none() {
                break;
            }
            let Some(mut chain) = ring.pop(view)? else {
                if ring.rearm(view)? {
                    continue;
                }
                break;
            };
            let head = chain.head();
            let said = if let Some(packet) = self.refusals.pop_front() {
                Some(chain.writable.write(&packet.bytes()) as u32)
            } else if let Some(ports) = speaker {
                self.last = ports;
                let packet = self.to_guest(ports);
                let link = self.links.get_mut(&ports);
                link.map_or(Ok(None), |link| link.say(packet, chain.writable))?
            } else {
                None
            };
            match said {
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
        Config::new(self.cid.to_le_bytes().to_vec())
    }

    fn rung(&mut self, io: &mut Io) -> std::result::Result<(), Fault> {
        io.rings[TRANSMIT].serve(&io.view, &io.interrupt, |chain| self.hear(chain))?;
        self.speak(io)
    }

    fn sources(&self) -> Vec<PollFd<'_>> {
        self.watched().map(|(_, interest)| interest).collect()
    }

    fn polled(&mut self, io: &mut Io, events: &[PollFlags]) -> std::result::Result<(), Fault> {
        let woken: Vec<(Source, PollFlags)> = self
            .watched()
            .zip(events)
            .filter(|(_, events)| !events.is_empty())
            .map(|((source, _), events)| (source, *events))
            .collect();
        for (source, events) in woken {
            match source {
                Source::Socket => self.accept(),
                Source::Greeting(port) => {
                    if let Some(greeting) = self.greetings.remove(&port) {
                        self.greet(port, greeting);
                    }
                }
                Source::Link(ports) => {
                    let link = self.links.get_mut(&ports);
                    let over = link.is_some_and(|link| {
                        link.polled(events);
                        link.is_over()
                    });
                    if over {
                        self.end(ports);
                    }
                }
            }
        }
        self.speak(io)
    }

    fn filter(&self) -> Filter {
        Filter::Sockets
    }

    fn reset(&mut self) {
        self.greetings.clear();
        self.links.clear();
        self.refusals.clear();
    }
}
