//! A packet's header (virtio 1.2, 5.10.6). The guest may have written anything there.

use crate::base::bytes::{u16_at, u32_at, u64_at};

/// Its size in bytes.
pub(super) const HEADER: usize = 44;

/// The host's CID.
pub(super) const HOST_CID: u64 = libc::VMADDR_CID_HOST as u64;

/// The socket type of streams, the only one that is offered.
pub(super) const STREAM: u16 = 1;

/// Operations.
pub(super) const REQUEST: u16 = 1;
pub(super) const RESPONSE: u16 = 2;
pub(super) const RST: u16 = 3;
pub(super) const SHUTDOWN: u16 = 4;
pub(super) const RW: u16 = 5;
pub(super) const CREDIT_UPDATE: u16 = 6;
pub(super) const CREDIT_REQUEST: u16 = 7;

/// Flags of SHUTDOWN: the sender receives no more, sends no more.
pub(super) const SHUTDOWN_RCV: u32 = 1;
pub(super) const SHUTDOWN_SEND: u32 = 2;
pub(super) const SHUTDOWN_BOTH: u32 = SHUTDOWN_RCV | SHUTDOWN_SEND;

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) cid: u64,
    pub(super) port: u32,
}

/// A header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) src: Endpoint,
    pub(super) dst: Endpoint,
    /// Bytes of data behind the header.
    pub(super) len: u32,
    pub(super) socket_type: u16,
    pub(super) op: u16,
    pub(super) flags: u32,
    /// The sender's buffer space in bytes.
    pub(super) buf_alloc: u32,
    /// How many bytes the sender has forwarded since the connection began, modulo 2^32.
    pub(super) fwd_cnt: u32,
}

impl Packet {
    /// Reads a header.
    pub(super) fn parse(bytes: [u8; HEADER]) -> Self {
        let half = |at| u16_at(&bytes, at).unwrap_or_default();
        let word = |at| u32_at(&bytes, at).unwrap_or_default();
        let long = |at| u64_at(&bytes, at).unwrap_or_default();
        Packet {
            src: Endpoint {
                cid: long(0),
                port: word(16),
            },
            dst: Endpoint {
                cid: long(8),
                port: word(20),
            },
            len: word(24),
            socket_type: half(28),
            op: half(30),
            flags: word(32),
            buf_alloc: word(36),
            fwd_cnt: word(40),
        }
    }

    /// The header as bytes.
    pub(super) fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.src.cid.to_le_bytes());
        put(8, &self.dst.cid.to_le_bytes());
        put(16, &self.src.port.to_le_bytes());
        put(20, &self.dst.port.to_le_bytes());
        put(24, &self.len.to_le_bytes());
        put(28, &self.socket_type.to_le_bytes());
        put(30, &self.op.to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.buf_alloc.to_le_bytes());
        put(40, &self.fwd_cnt.to_le_bytes());
        bytes
    }

    /// The answer dst a packet for which there is no connection.
    pub(super) fn reset(&self) -> Self {
        Packet {
            src: self.dst,
            dst: self.src,
            socket_type: self.socket_type,
            op: RST,
            ..Packet::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_lie_where_the_specification_has_them() {
        let mut bytes = [0; HEADER];
        for (at, byte) in [(0, 3), (8, 2), (16, 4), (21, 4), (24, 5), (28, 1), (30, 7)] {
            bytes[at] = byte;
        }
        (bytes[32], bytes[39], bytes[40]) = (3, 0x80, 9);
        let packet = Packet {
            src: Endpoint { cid: 3, port: 4 },
            dst: Endpoint { cid: 2, port: 1024 },
            len: 5,
            socket_type: STREAM,
            op: CREDIT_REQUEST,
            flags: SHUTDOWN_BOTH,
            buf_alloc: 1 << 31,
            fwd_cnt: 9,
        };
        assert_eq!(Packet::parse(bytes), packet);
    }

    proptest! {
        #[test]
        fn any_header_is_written_as_it_was_read(bytes: [u8; 32], more: [u8; 12]) {
            let all: Vec<u8> = bytes.into_iter().chain(more).collect();
            let header: [u8; HEADER] = all.try_into().unwrap();
            prop_assert_eq!(Packet::parse(header).bytes(), header);
        }
    }
}
