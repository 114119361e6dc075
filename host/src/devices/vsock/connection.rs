//! The state of a connection: credit and shutdown of both sides (virtio 1.2, 5.10.6). It knows no socket and no
//! virtqueue.

#[cfg(test)]
mod tests;

use super::packet::{
    CREDIT_REQUEST, CREDIT_UPDATE, Packet, REQUEST, RESPONSE, RST, RW, SHUTDOWN, SHUTDOWN_BOTH,
    SHUTDOWN_RCV, SHUTDOWN_SEND,
};

/// The buffer space for bytes that the socket has not taken yet: as much as Linux has.
pub(super) const BUF_ALLOC: u32 = 256 << 10;

/// The guest gets a credit update when this much has been forwarded since the last packet.
const UPDATE_STEP: u32 = BUF_ALLOC / 4;

/// What a packet from the guest means for the socket behind the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Nothing.
    Nothing,
    /// The guest has accepted.
    Accepted,
    /// There are bytes to forward.
    Data,
    /// The guest sends no more, or receives no more.
    Shutdown,
    /// The guest has ended the connection.
    Reset,
    /// The packet is not allowed now: the connection must be reset.
    Invalid,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The operation that the guest is to get first.
    opening: Option<u16>,
    established: bool,
    /// SHUTDOWN flags: the guest's; the socket's; and what of these the guest was sent.
    peer_shutdown: u32,
    own_shutdown: u32,
    own_shutdown_sent: u32,
    /// The guest sent a CREDIT_REQUEST.
    credit_requested: bool,
    /// Bytes to the guest, modulo 2^32: sent; forwarded there, by its last packet; and its buffer space.
    tx_cnt: u32,
    peer_fwd_cnt: u32,
    peer_buf_alloc: u32,
    /// Bytes from the guest, modulo 2^32: received; forwarded to the socket; and what of that the last packet said.
    rx_cnt: u32,
    fwd_cnt: u32,
    last_fwd_cnt: u32,
}

impl Connection {
    /// The guest requested it, and the socket accepted.
    pub(super) fn accepted(request: &Packet) -> Self {
        Connection {
            established: true,
            peer_buf_alloc: request.buf_alloc,
            peer_fwd_cnt: request.fwd_cnt,
            ..Self::with(RESPONSE)
        }
    }

    /// The host requests it.
    pub(super) fn requested() -> Self {
        Self::with(REQUEST)
    }

    fn with(opening: u16) -> Self {
        Connection {
            opening: Some(opening),
            established: false,
            peer_shutdown: 0,
            own_shutdown: 0,
            own_shutdown_sent: 0,
            credit_requested: false,
            tx_cnt: 0,
            peer_fwd_cnt: 0,
            peer_buf_alloc: 0,
            rx_cnt: 0,
            fwd_cnt: 0,
            last_fwd_cnt: 0,
        }
    }

    /// Takes a packet from the guest.
    pub(super) fn receive(&mut self, packet: &Packet) -> Received {
        (self.peer_buf_alloc, self.peer_fwd_cnt) = (packet.buf_alloc, packet.fwd_cnt);
        match packet.op {
            // A guest that had shut down sending gave up waiting for the answer: its bytes are still to be forwarded.
            RST if self.peer_sends_no_more() && self.unread() > 0 => {
                self.peer_shutdown = SHUTDOWN_BOTH;
                Received::Nothing
            }
            RST => Received::Reset,
            RESPONSE if !self.established && self.opening.is_none() => {
                self.established = true;
                Received::Accepted
            }
            _ if !self.established => Received::Invalid,
            RW if !self.peer_sends_no_more() && packet.len <= BUF_ALLOC - self.unread() => {
                self.rx_cnt = self.rx_cnt.wrapping_add(packet.len);
                Received::Data
            }
            SHUTDOWN => {
                self.peer_shutdown |= packet.flags & SHUTDOWN_BOTH;
                Received::Shutdown
            }
            CREDIT_UPDATE => Received::Nothing,
            CREDIT_REQUEST => {
                self.credit_requested = true;
                Received::Nothing
            }
            _ => Received::Invalid,
        }
    }

    /// Whether it was requested and accepted.
    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// Bytes from the guest that were not forwarded yet, at most [`BUF_ALLOC`].
    pub(super) fn unread(&self) -> u32 {
        self.rx_cnt.wrapping_sub(self.fwd_cnt)
    }

    /// So many bytes from the guest were forwarded; no more than are [`Connection::unread`].
    pub(super) fn forwarded(&mut self, count: u32) {
        self.fwd_cnt = self.fwd_cnt.wrapping_add(count.min(self.unread()));
    }

    /// How many bytes may be sent to the guest now.
    pub(super) fn credit(&self) -> u32 {
        if !self.established || self.peer_receives_no_more() || self.host_sends_no_more() {
            return 0;
        }
        let in_flight = self.tx_cnt.wrapping_sub(self.peer_fwd_cnt);
        self.peer_buf_alloc.saturating_sub(in_flight)
    }

    /// So many bytes were sent to the guest.
    pub(super) fn sent(&mut self, count: u32) {
        self.tx_cnt = self.tx_cnt.wrapping_add(count);
    }

    /// The socket sends no more, or receives no more, by SHUTDOWN flags.
    pub(super) fn shut_down(&mut self, flags: u32) {
        self.own_shutdown |= flags;
    }

    /// Whether the socket is known to send no more.
    pub(super) fn host_sends_no_more(&self) -> bool {
        self.own_shutdown & SHUTDOWN_SEND != 0
    }

    /// Whether the guest sends no more.
    pub(super) fn peer_sends_no_more(&self) -> bool {
        self.peer_shutdown & SHUTDOWN_SEND != 0
    }

    /// Whether the guest receives no more.
    pub(super) fn peer_receives_no_more(&self) -> bool {
        self.peer_shutdown & SHUTDOWN_RCV != 0
    }

    /// Whether the guest has shut down both ways, and everything from it was forwarded.
    pub(super) fn is_over(&self) -> bool {
        self.peer_shutdown == SHUTDOWN_BOTH && self.unread() == 0
    }

    /// Whether there is a packet without data for the guest.
    pub(super) fn has_control(&self) -> bool {
        self.pending().is_some()
    }

    /// The next packet without data for the guest, as an operation and its flags.
    pub(super) fn next_control(&mut self) -> Option<(u16, u32)> {
        let (op, flags) = self.pending()?;
        match op {
            SHUTDOWN => self.own_shutdown_sent = flags,
            CREDIT_UPDATE => self.credit_requested = false,
            _ => self.opening = None,
        }
        Some((op, flags))
    }

    fn pending(&self) -> Option<(u16, u32)> {
        let step = self.fwd_cnt.wrapping_sub(self.last_fwd_cnt) >= UPDATE_STEP;
        match self.opening {
            Some(op) => Some((op, 0)),
            None if !self.established => None,
            None if self.own_shutdown != self.own_shutdown_sent => {
                Some((SHUTDOWN, self.own_shutdown))
            }
            None if self.credit_requested || step => Some((CREDIT_UPDATE, 0)),
            None => None,
        }
    }

    /// Puts the buffer space and the forwarded bytes in a packet for the guest.
    pub(super) fn set_credit(&mut self, packet: &mut Packet) {
        (packet.buf_alloc, packet.fwd_cnt) = (BUF_ALLOC, self.fwd_cnt);
        self.last_fwd_cnt = self.fwd_cnt;
    }
}
