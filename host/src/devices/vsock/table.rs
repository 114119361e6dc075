//! The connections between a guest and its host, and those that are about to be.

use super::super::buffers::Buffers;
use super::super::ring::Fault;
use super::connection::Connection;
use super::link::Link;
use super::packet::{End, HEADER, HOST, Packet, REQUEST, RST, STREAM};
use super::socket::{Greeted, Greeting, Socket};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

/// The most connections at once, those that are not established among them.
const MOST: usize = 128;

/// The most refusals that wait for room; more are not sent.
const REFUSALS: usize = 256;

/// The first of the host's ports for connections that the host asks for.
const FIRST_PORT: u32 = 1 << 30;

/// The host's port and the guest's.
type Ports = (u32, u32);

/// What the device waits for.
pub(super) enum Source {
    Socket,
    Greeting(u32),
    Link(Ports),
}

/// The connections.
#[derive(Debug)]
pub(super) struct Table {
    cid: u64,
    socket: Socket,
    /// There are no descriptors for another connection, until something changes.
    deaf: bool,
    /// By the port of the host's that they will have.
    greetings: BTreeMap<u32, Greeting>,
    links: BTreeMap<Ports, Link>,
    refusals: VecDeque<Packet>,
    next_port: u32,
    /// Who spoke last, so that all have their turns.
    last: Ports,
}

impl Table {
    /// None yet, for a guest with this address.
    pub(super) fn new(cid: u32, socket: Socket) -> Self {
        Table {
            cid: cid.into(),
            socket,
            deaf: false,
            greetings: BTreeMap::new(),
            links: BTreeMap::new(),
            refusals: VecDeque::new(),
            next_port: FIRST_PORT,
            last: (0, 0),
        }
    }

    fn is_full(&self) -> bool {
        self.greetings.len() + self.links.len() >= MOST
    }

    /// What it waits for, always in the same order while nothing changes.
    pub(super) fn watched(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let listens = !self.is_full() && !self.deaf;
        let socket = listens.then(|| (Source::Socket, self.socket.interest()));
        let greetings = self.greetings.iter();
        let greetings = greetings.map(|(port, one)| (Source::Greeting(*port), one.interest()));
        let links = self.links.iter();
        let links =
            links.filter_map(|(ports, link)| Some((Source::Link(*ports), link.interest()?)));
        socket.into_iter().chain(greetings).chain(links)
    }

    /// Somebody on the host has connected, and is to say where to. Those who come while this serves others wait.
    fn accept(&mut self) {
        for _ in 0..MOST {
            if self.is_full() {
                break;
            }
            match self.socket.accept() {
                Ok(greeting) => {
                    let port = self.free_port();
                    self.greet(port, greeting);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => {
                    self.deaf = errno != Errno::AGAIN;
                    break;
                }
            }
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

    /// Takes a packet of the guest's, with the data behind it.
    pub(super) fn hear(&mut self, packet: &Packet, data: Buffers<'_>) {
        self.deaf = false;
        // Who says to be somebody else gets no answer.
        if packet.from.cid != self.cid {
            return;
        }
        let ports = (packet.to.port, packet.from.port);
        if packet.to.cid != HOST || packet.kind != STREAM {
            self.refuse(packet);
        } else if let Some(link) = self.links.get_mut(&ports) {
            if !link.hear(packet, data, ports.0) {
                self.links.remove(&ports);
                self.refuse(packet);
            } else if link.is_over() {
                self.end(ports);
            }
        } else if let Some(stream) = self.answer(packet) {
            let link = Link::new(stream, Connection::accepted(packet));
            self.links.insert(ports, link);
        } else {
            self.refuse(packet);
        }
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

    /// Something came of a source.
    pub(super) fn polled(&mut self, source: Source, events: PollFlags) {
        match source {
            Source::Socket => return self.accept(),
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
        self.deaf = false;
    }

    /// Whether somebody has something for the guest.
    pub(super) fn speaks(&self) -> bool {
        !self.refusals.is_empty() || self.speaker().is_some()
    }

    /// Writes the next packet for the guest into its room; gives its length, or none if there was nothing to say after all.
    ///
    /// # Errors
    /// [`Fault::Chain`] if the room is none.
    pub(super) fn say(&mut self, mut room: Buffers<'_>) -> Result<Option<u32>, Fault> {
        if let Some(packet) = self.refusals.pop_front() {
            room.write(&packet.bytes());
            return Ok(Some(HEADER as u32));
        }
        let Some(ports) = self.speaker() else {
            return Ok(None);
        };
        self.last = ports;
        let packet = self.to_guest(ports);
        let link = self.links.get_mut(&ports);
        link.map_or(Ok(None), |link| link.say(packet, room))
    }

    /// Ends all of them, without a word to the guest.
    pub(super) fn clear(&mut self) {
        self.greetings.clear();
        self.links.clear();
        self.refusals.clear();
    }
}
