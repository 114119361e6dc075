//! The connections between a guest and its host, and the handshakes of those that the host requests.

use super::connection::Connection;
use super::link::Link;
use super::packet::{Endpoint, HEADER, HOST_CID, Packet, REQUEST, RST, STREAM};
use super::socket::{Handshake, Progress, Socket};
use crate::base::cast::to_u32;
use crate::devices::virtio::buffers::Buffers;
use crate::devices::virtio::queue::Fault;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

/// The most connections at once, including those that are not established.
const MAX_CONNECTIONS: usize = 128;

/// The most RST packets that wait for the guest's buffers; more are dropped.
const MAX_RESETS: usize = 256;

/// The host's first port for connections that the host requests.
const FIRST_PORT: u32 = 1 << 30;

/// The host's port and the guest's.
type Ports = (u32, u32);

/// What the device polls.
pub(super) enum Source {
    Socket,
    Handshake(u32),
    Link(Ports),
}

/// The connections.
#[derive(Debug)]
pub(super) struct Table {
    cid: u64,
    socket: Socket,
    /// There are no descriptors to accept another connection, until something changes.
    accept_paused: bool,
    /// By the host's port that they will have.
    handshakes: BTreeMap<u32, Handshake>,
    links: BTreeMap<Ports, Link>,
    resets: VecDeque<Packet>,
    next_port: u32,
    /// The link that sent last, so that all get their turns.
    last: Ports,
}

impl Table {
    /// An empty table, for a guest with this CID.
    pub(super) fn new(cid: u32, socket: Socket) -> Self {
        Table {
            cid: cid.into(),
            socket,
            accept_paused: false,
            handshakes: BTreeMap::new(),
            links: BTreeMap::new(),
            resets: VecDeque::new(),
            next_port: FIRST_PORT,
            last: (0, 0),
        }
    }

    fn is_full(&self) -> bool {
        self.handshakes.len() + self.links.len() >= MAX_CONNECTIONS
    }

    /// What to poll, in the same order while nothing changes.
    pub(super) fn sources(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let listens = !self.is_full() && !self.accept_paused;
        let socket = listens.then(|| (Source::Socket, self.socket.interest()));
        let handshakes = self.handshakes.iter();
        let handshakes = handshakes.map(|(port, one)| (Source::Handshake(*port), one.interest()));
        let links = self.links.iter();
        let links =
            links.filter_map(|(ports, link)| Some((Source::Link(*ports), link.interest()?)));
        socket.into_iter().chain(handshakes).chain(links)
    }

    /// Accepts programs that have connected. Those that come meanwhile wait for the next call.
    fn accept(&mut self) {
        for _ in 0..MAX_CONNECTIONS {
            if self.is_full() {
                break;
            }
            match self.socket.accept() {
                Ok(handshake) => {
                    let port = self.free_port();
                    self.proceed(port, handshake);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => {
                    self.accept_paused = errno != Errno::AGAIN;
                    break;
                }
            }
        }
    }

    /// A host's port that no connection has.
    fn free_port(&mut self) -> u32 {
        loop {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            let mut linked = self.links.range((port, 0)..=(port, u32::MAX));
            if !self.handshakes.contains_key(&port) && linked.next().is_none() {
                return port;
            }
        }
    }

    fn proceed(&mut self, port: u32, handshake: Handshake) {
        match handshake.read() {
            Progress::Pending(handshake) => {
                self.handshakes.insert(port, handshake);
            }
            Progress::Connect(stream, wanted) => {
                let link = Link::new(stream, Connection::requested());
                self.links.insert((port, wanted), link);
            }
            Progress::Invalid => {}
        }
    }

    /// Takes a packet from the guest, with its data.
    pub(super) fn receive(&mut self, packet: &Packet, data: Buffers<'_>) {
        self.accept_paused = false;
        // A packet in the name of another CID gets no answer.
        if packet.src.cid != self.cid {
            return;
        }
        let ports = (packet.dst.port, packet.src.port);
        if packet.dst.cid != HOST_CID || packet.socket_type != STREAM {
            self.answer_reset(packet);
        } else if let Some(link) = self.links.get_mut(&ports) {
            if !link.receive(packet, data, ports.0) {
                self.links.remove(&ports);
                self.answer_reset(packet);
            } else if link.is_over() {
                self.reset(ports);
            }
        } else if let Some(stream) = self.connect(packet) {
            let link = Link::new(stream, Connection::accepted(packet));
            self.links.insert(ports, link);
        } else {
            self.answer_reset(packet);
        }
    }

    /// The socket for a connection that the guest requests.
    fn connect(&self, packet: &Packet) -> Option<OwnedFd> {
        let asks = packet.op == REQUEST && !self.is_full();
        asks.then(|| self.socket.connect(packet.dst.port)).flatten()
    }

    fn answer_reset(&mut self, packet: &Packet) {
        if packet.op != RST && self.resets.len() < MAX_RESETS {
            self.resets.push_back(packet.reset());
        }
    }

    /// Removes a connection, and sends the guest a RST.
    fn reset(&mut self, ports: Ports) {
        self.links.remove(&ports);
        let packet = self.header(ports);
        if self.resets.len() < MAX_RESETS {
            self.resets.push_back(Packet { op: RST, ..packet });
        }
    }

    /// The header that all packets of a connection share.
    fn header(&self, (host, guest): Ports) -> Packet {
        Packet {
            src: Endpoint {
                cid: HOST_CID,
                port: host,
            },
            dst: Endpoint {
                cid: self.cid,
                port: guest,
            },
            socket_type: STREAM,
            ..Packet::default()
        }
    }

    /// Who has_packet to the guest next.
    fn next_link(&self) -> Option<Ports> {
        let behind = self.links.range((Excluded(self.last), Unbounded));
        let mut all = behind.chain(self.links.range(..=self.last));
        all.find(|(_, link)| link.has_packet())
            .map(|(ports, _)| *ports)
    }

    /// A source had these events.
    pub(super) fn polled(&mut self, source: Source, events: PollFlags) {
        match source {
            Source::Socket => return self.accept(),
            Source::Handshake(port) => {
                if let Some(handshake) = self.handshakes.remove(&port) {
                    self.proceed(port, handshake);
                }
            }
            Source::Link(ports) => {
                let link = self.links.get_mut(&ports);
                let over = link.is_some_and(|link| {
                    link.polled(events);
                    link.is_over()
                });
                if over {
                    self.reset(ports);
                }
            }
        }
        self.accept_paused = false;
    }

    /// Whether there is a packet for the guest.
    pub(super) fn has_packet(&self) -> bool {
        !self.resets.is_empty() || self.next_link().is_some()
    }

    /// Writes the next packet for the guest into its buffers; returns its length, or `None` if there was none after all.
    ///
    /// # Errors
    /// [`Fault::Chain`] if the buffers are too small.
    pub(super) fn write_packet(&mut self, mut buffers: Buffers<'_>) -> Result<Option<u32>, Fault> {
        if let Some(packet) = self.resets.pop_front() {
            buffers.write(&packet.bytes());
            return Ok(Some(to_u32(HEADER)));
        }
        let Some(ports) = self.next_link() else {
            return Ok(None);
        };
        self.last = ports;
        let packet = self.header(ports);
        let link = self.links.get_mut(&ports);
        link.map_or(Ok(None), |link| link.write_packet(packet, buffers))
    }

    /// Closes all of them without telling the guest.
    pub(super) fn clear(&mut self) {
        self.handshakes.clear();
        self.links.clear();
        self.resets.clear();
    }
}
