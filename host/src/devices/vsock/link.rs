//! A connection and the Unix socket that stands behind it.

use super::super::buffers::Buffers;
use super::super::ring::Fault;
use super::connection::{Connection, Heard};
use super::packet::{BOTH, HEADER, Packet, RECEIVES, RW, SENDS};
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
    /// The guest's bytes that the socket has not taken; as many as the connection knows to be unread.
    backlog: VecDeque<u8>,
    /// The socket may have something to read.
    readable: bool,
    /// The socket's other end is gone.
    hung_up: bool,
}

impl Link {
    /// Of a connection that has just begun.
    pub(super) fn new(stream: OwnedFd, state: Connection) -> Self {
        Link {
            stream,
            state,
            backlog: VecDeque::new(),
            readable: false,
            hung_up: false,
        }
    }

    /// What it waits for; nothing of a socket that can only say again that it is gone.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !self.readable && self.state.may_send() > 0);
        flags.set(PollFlags::OUT, !self.backlog.is_empty());
        (!self.hung_up).then(|| PollFd::new(&self.stream, flags))
    }

    /// Something came of that.
    pub(super) fn polled(&mut self, events: PollFlags) {
        if events.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.hung_up = true;
            if self.state.host_sends_no_more() || self.state.guest_receives_no_more() {
                // Nothing will be read any more, which would tell.
                self.state.end_host(BOTH);
            }
        }
        self.readable = true;
        if !self.backlog.is_empty() {
            self.flush();
        }
    }

    /// Whether there is no more to it: the guest has got or left everything, or the host did not wait for the guest.
    pub(super) fn is_over(&self) -> bool {
        self.state.is_over() || self.hung_up && !self.state.is_established()
    }

    /// Takes a packet of the guest's; false if that ends the connection, with an answer or without.
    pub(super) fn hear(&mut self, packet: &Packet, data: Buffers<'_>, port: u32) -> bool {
        match self.state.hear(packet) {
            Heard::Nothing => {}
            // The socket is new, so that it takes this much, or nobody reads it.
            Heard::Accepted => {
                let _ = rustix::io::write(&self.stream, format!("OK {port}\n").as_bytes());
            }
            Heard::Data => self.pass_on(data),
            Heard::Done => {
                if self.state.guest_receives_no_more() {
                    let _ = shutdown(&self.stream, Shutdown::Read);
                }
                self.end_output();
            }
            Heard::Reset | Heard::Broken => return false,
        }
        true
    }

    /// Passes the guest's bytes on, and keeps what the socket does not take now.
    fn pass_on(&mut self, mut data: Buffers<'_>) {
        if self.backlog.is_empty() {
            match data.send(&self.stream) {
                Ok(sent) => {
                    self.state.pass_on(sent as u32);
                    data.take(sent);
                }
                Err(error) if is_for_now(&error) => {}
                Err(_) => return self.lose_reader(data.len()),
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
                    self.state.pass_on(written as u32);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.lose_reader(self.backlog.len()),
            }
        }
        self.end_output();
    }

    /// Nobody reads what the guest sends: what it has sent counts as read.
    fn lose_reader(&mut self, unread: usize) {
        self.backlog = VecDeque::new();
        self.state.pass_on(unread as u32);
        self.state.end_host(RECEIVES);
    }

    /// Says that the guest sends no more, once all that it sent is said.
    fn end_output(&self) {
        if self.state.guest_sends_no_more() && self.backlog.is_empty() {
            let _ = shutdown(&self.stream, Shutdown::Write);
        }
    }

    /// Whether it has something for the guest.
    pub(super) fn speaks(&self) -> bool {
        self.state.is_due() || self.readable && self.state.may_send() > 0
    }

    /// Writes a packet for the guest into its room, as an answer from `packet`'s sender; gives its length, or none if
    /// there was nothing to say after all.
    ///
    /// # Errors
    /// [`Fault::Chain`] if the room is none.
    pub(super) fn say(
        &mut self,
        mut packet: Packet,
        mut room: Buffers<'_>,
    ) -> Result<Option<u32>, Fault> {
        let none = Fault::Chain("there is no room for a packet");
        let Some(mut header) = room.take(HEADER) else {
            return Err(none);
        };
        if let Some((op, flags)) = self.state.next() {
            (packet.op, packet.flags) = (op, flags);
        } else {
            let most = room.len().min(self.state.may_send() as usize);
            let Some(data) = room.take(most).filter(|data| !data.is_empty()) else {
                return Err(none);
            };
            match self.read(&data) {
                0 => return Ok(None),
                len => (packet.op, packet.len) = (RW, len),
            }
        }
        self.state.stamp(&mut packet);
        header.write(&packet.bytes());
        Ok(Some(HEADER as u32 + packet.len))
    }

    /// Reads from the socket; 0 if there is nothing now, or nothing any more.
    fn read(&mut self, into: &Buffers<'_>) -> u32 {
        match into.receive(&self.stream) {
            Ok(read @ 1..) => {
                self.state.send(read as u32);
                return read as u32;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Ok(_) if !self.hung_up => self.state.end_host(SENDS),
            Ok(_) | Err(_) => self.state.end_host(BOTH),
        }
        0
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
