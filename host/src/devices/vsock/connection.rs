//! What a connection's two sides have said to each other: who may send how much, and who is done (virtio 1.2,
//! 5.10.6). It knows no socket and no queue.

#[cfg(test)]
mod tests;

use super::packet::{
    BOTH, CREDIT_REQUEST, CREDIT_UPDATE, Packet, RECEIVES, REQUEST, RESPONSE, RST, RW, SENDS,
    SHUTDOWN,
};

/// How many bytes of a guest's are kept for a host's program that is slow to read them: as many as Linux keeps.
pub(super) const BUFFER: u32 = 256 << 10;

/// The guest hears of new room when this much has been passed on since it last did.
const NEWS: u32 = BUFFER / 4;

/// What a packet of the guest's means for what stands behind the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// The guest has accepted.
    Accepted,
    /// There are bytes to pass on.
    Data,
    /// The guest sends no more, or receives no more.
    Done,
    /// The guest has ended the connection.
    Reset,
    /// What cannot come now: the connection has to be ended.
    Broken,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// What the guest is to be told first.
    opening: Option<u16>,
    established: bool,
    /// Flags of a shutdown: what the guest said, what the host's program did, and what of that the guest knows.
    guest_done: u32,
    host_done: u32,
    host_done_told: u32,
    /// The guest asked how much room there is.
    asked: bool,
    /// Bytes to the guest, modulo 2^32: sent, read there; and the room it has.
    sent: u32,
    guest_passed_on: u32,
    guest_room: u32,
    /// Bytes from the guest: received, passed on, and what of that the guest knows.
    received: u32,
    passed_on: u32,
    passed_on_told: u32,
}

impl Connection {
    /// The guest asks for it and the host takes it.
    pub(super) fn accepted(request: &Packet) -> Self {
        Connection {
            established: true,
            guest_room: request.room,
            guest_passed_on: request.passed_on,
            ..Self::with(RESPONSE)
        }
    }

    /// The host asks for it.
    pub(super) fn requested() -> Self {
        Self::with(REQUEST)
    }

    fn with(opening: u16) -> Self {
        Connection {
            opening: Some(opening),
            established: false,
            guest_done: 0,
            host_done: 0,
            host_done_told: 0,
            asked: false,
            sent: 0,
            guest_passed_on: 0,
            guest_room: 0,
            received: 0,
            passed_on: 0,
            passed_on_told: 0,
        }
    }

    /// Takes what the guest says.
    pub(super) fn hear(&mut self, packet: &Packet) -> Heard {
        (self.guest_room, self.guest_passed_on) = (packet.room, packet.passed_on);
        match packet.op {
            // A guest that had said its last has only given up waiting for the answer: its bytes are still to arrive.
            RST if self.guest_sends_no_more() && self.unread() > 0 => {
                self.guest_done = BOTH;
                Heard::Nothing
            }
            RST => Heard::Reset,
            RESPONSE if !self.established && self.opening.is_none() => {
                self.established = true;
                Heard::Accepted
            }
            _ if !self.established => Heard::Broken,
            RW if !self.guest_sends_no_more() && packet.len <= BUFFER - self.unread() => {
                self.received = self.received.wrapping_add(packet.len);
                Heard::Data
            }
            SHUTDOWN => {
                self.guest_done |= packet.flags & BOTH;
                Heard::Done
            }
            CREDIT_UPDATE => Heard::Nothing,
            CREDIT_REQUEST => {
                self.asked = true;
                Heard::Nothing
            }
            _ => Heard::Broken,
        }
    }

    /// Both sides have agreed to it.
    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// Bytes of the guest's that were not passed on, at most [`BUFFER`].
    pub(super) fn unread(&self) -> u32 {
        self.received.wrapping_sub(self.passed_on)
    }

    /// So many bytes of the guest's were passed on; no more than are [`Connection::unread`].
    pub(super) fn pass_on(&mut self, count: u32) {
        self.passed_on = self.passed_on.wrapping_add(count.min(self.unread()));
    }

    /// How many bytes may be sent to the guest now.
    pub(super) fn may_send(&self) -> u32 {
        if !self.established || self.guest_receives_no_more() || self.host_sends_no_more() {
            return 0;
        }
        let on_their_way = self.sent.wrapping_sub(self.guest_passed_on);
        self.guest_room.saturating_sub(on_their_way)
    }

    /// So many bytes were sent to the guest.
    pub(super) fn send(&mut self, count: u32) {
        self.sent = self.sent.wrapping_add(count);
    }

    /// The host's program sends no more, or receives no more, by the flags of a shutdown.
    pub(super) fn end_host(&mut self, flags: u32) {
        self.host_done |= flags;
    }

    /// The host's program sends no more, and that was found out.
    pub(super) fn host_sends_no_more(&self) -> bool {
        self.host_done & SENDS != 0
    }

    /// The guest sends no more.
    pub(super) fn guest_sends_no_more(&self) -> bool {
        self.guest_done & SENDS != 0
    }

    /// The guest receives no more.
    pub(super) fn guest_receives_no_more(&self) -> bool {
        self.guest_done & RECEIVES != 0
    }

    /// The guest is done with it, and all that it sent was passed on.
    pub(super) fn is_over(&self) -> bool {
        self.guest_done == BOTH && self.unread() == 0
    }

    /// Whether the guest is to be told something, data aside.
    pub(super) fn is_due(&self) -> bool {
        self.due().is_some()
    }

    /// What the guest is to be told next, as an operation and its flags.
    pub(super) fn next(&mut self) -> Option<(u16, u32)> {
        let (op, flags) = self.due()?;
        match op {
            SHUTDOWN => self.host_done_told = flags,
            CREDIT_UPDATE => self.asked = false,
            _ => self.opening = None,
        }
        Some((op, flags))
    }

    fn due(&self) -> Option<(u16, u32)> {
        let news = self.passed_on.wrapping_sub(self.passed_on_told) >= NEWS;
        match self.opening {
            Some(op) => Some((op, 0)),
            None if !self.established => None,
            None if self.host_done != self.host_done_told => Some((SHUTDOWN, self.host_done)),
            None if self.asked || news => Some((CREDIT_UPDATE, 0)),
            None => None,
        }
    }

    /// Tells the guest, in a packet that is on its way, of the room that there is.
    pub(super) fn stamp(&mut self, packet: &mut Packet) {
        (packet.room, packet.passed_on) = (BUFFER, self.passed_on);
        self.passed_on_told = self.passed_on;
    }
}
