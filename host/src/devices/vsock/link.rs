//! A connection and its Unix socket.

use super::connection::{Connection, Received};
use super::packet::{HEADER, Packet, RW, SHUTDOWN_BOTH, SHUTDOWN_RCV, SHUTDOWN_SEND};
use crate::base::cast::to_u32;
use crate::devices::virtio::buffers::Buffers;
use crate::devices::virtio::queue::Fault;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};

/// A connection on its socket.
#[derive(Debug)]
pub(super) struct Link {
    stream: OwnedFd,
    state: Connection,
    /// Bytes from the guest that the socket has not taken; as many as the connection counts as unread.
    backlog: VecDeque<u8>,
    /// The socket may have something to read.
    readable: bool,
    /// The socket's other end is gone.
    hung_up: bool,
}

impl Link {
    /// For a connection that has just begun.
    pub(super) fn new(stream: OwnedFd, state: Connection) -> Self {
        Link {
            stream,
            state,
            backlog: VecDeque::new(),
            readable: false,
            hung_up: false,
        }
    }

    /// What to poll for; nothing once the socket's other end is gone, which every poll would report again.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !self.readable && self.state.credit() > 0);
        flags.set(PollFlags::OUT, !self.backlog.is_empty());
        (!self.hung_up).then(|| PollFd::new(&self.stream, flags))
    }

    /// The poll had these events.
    pub(super) fn polled(&mut self, events: PollFlags) {
        if events.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.hung_up = true;
            if self.state.host_sends_no_more() || self.state.peer_receives_no_more() {
                // Nothing will be read any more, so no read finds the end.
                self.state.shut_down(SHUTDOWN_BOTH);
            }
        }
        self.readable = true;
        if !self.backlog.is_empty() {
            self.flush();
        }
    }

    /// Whether it is to be reset: both sides are done, or the host's program left before the guest accepted.
    pub(super) fn is_over(&self) -> bool {
        self.state.is_over() || self.hung_up && !self.state.is_established()
    }

    /// Takes a packet from the guest; false if the connection is to be removed.
    pub(super) fn receive(&mut self, packet: &Packet, data: Buffers<'_>, port: u32) -> bool {
        match self.state.receive(packet) {
            Received::Nothing => {}
            // The socket is new, so it takes this much unless nobody reads it.
            Received::Accepted => {
                let _ = rustix::io::write(&self.stream, format!("OK {port}\n").as_bytes());
            }
            Received::Data => self.forward(data),
            Received::Shutdown => {
                if self.state.peer_receives_no_more() {
                    let _ = shutdown(&self.stream, Shutdown::Read);
                }
                self.shut_down_stream();
            }
            Received::Reset | Received::Invalid => return false,
        }
        true
    }

    /// Forwards the guest's bytes, and keeps what the socket does not take now.
    fn forward(&mut self, mut data: Buffers<'_>) {
        if self.backlog.is_empty() {
            match data.send(&self.stream) {
                Ok(sent) => {
                    self.state.forwarded(to_u32(sent));
                    data.take(sent);
                }
                Err(error) if is_temporary(&error) => {}
                Err(_) => return self.reader_gone(data.len()),
            }
        }
        let mut rest = vec![0; data.len()];
        data.read(&mut rest);
        self.backlog.extend(rest);
    }

    fn flush(&mut self) {
        while !self.backlog.is_empty() {
            match rustix::io::write(&self.stream, self.backlog.as_slices().0) {
                Ok(written) => {
                    self.backlog.drain(..written);
                    self.state.forwarded(to_u32(written));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.reader_gone(self.backlog.len()),
            }
        }
        self.shut_down_stream();
    }

    /// Nobody reads what the guest sends: what it has sent counts as forwarded.
    fn reader_gone(&mut self, unread: usize) {
        self.backlog = VecDeque::new();
        self.state.forwarded(to_u32(unread));
        self.state.shut_down(SHUTDOWN_RCV);
    }

    /// Shuts the socket down for writing, once the guest sends no more and everything is forwarded.
    fn shut_down_stream(&self) {
        if self.state.peer_sends_no_more() && self.backlog.is_empty() {
            let _ = shutdown(&self.stream, Shutdown::Write);
        }
    }

    /// Whether it has a packet for the guest.
    pub(super) fn has_packet(&self) -> bool {
        self.state.has_control() || self.readable && self.state.credit() > 0
    }

    /// Writes a packet for the guest, whose addresses `packet` has, into its buffers; returns its length, or `None` if
    /// there was nothing to send after all.
    ///
    /// # Errors
    /// [`Fault::Chain`] if the buffers are too small.
    pub(super) fn write_packet(
        &mut self,
        mut packet: Packet,
        mut buffers: Buffers<'_>,
    ) -> Result<Option<u32>, Fault> {
        let none = Fault::Chain("its buffers are too small for a packet");
        let Some(mut header) = buffers.take(HEADER) else {
            return Err(none);
        };
        if let Some((op, flags)) = self.state.next_control() {
            (packet.op, packet.flags) = (op, flags);
        } else {
            let most = buffers.len().min(self.state.credit() as usize);
            let Some(data) = buffers.take(most).filter(|data| !data.is_empty()) else {
                return Err(none);
            };
            match self.read(&data) {
                0 => return Ok(None),
                len => (packet.op, packet.len) = (RW, len),
            }
        }
        self.state.set_credit(&mut packet);
        header.write(&packet.bytes());
        Ok(Some(to_u32(HEADER) + packet.len))
    }

    /// Reads from the socket; 0 if there is nothing now, or nothing any more.
    fn read(&mut self, into: &Buffers<'_>) -> u32 {
        match into.receive(&self.stream) {
            Ok(read @ 1..) => {
                let read = to_u32(read);
                self.state.sent(read);
                return read;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Ok(_) if !self.hung_up => self.state.shut_down(SHUTDOWN_SEND),
            Ok(_) | Err(_) => self.state.shut_down(SHUTDOWN_BOTH),
        }
        0
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
