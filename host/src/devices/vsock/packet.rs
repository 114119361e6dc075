//! A packet's header (virtio 1.2, 5.10.6). All that it says is the guest's word.

/// Its length in bytes.
pub(super) const HEADER: usize = 44;

/// The host's address.
pub(super) const HOST: u64 = 2;

/// The type of a stream's packets, the only one there is.
pub(super) const STREAM: u16 = 1;

/// Operations.
pub(super) const REQUEST: u16 = 1;
pub(super) const RESPONSE: u16 = 2;
pub(super) const RST: u16 = 3;
pub(super) const SHUTDOWN: u16 = 4;
pub(super) const RW: u16 = 5;
pub(super) const CREDIT_UPDATE: u16 = 6;
pub(super) const CREDIT_REQUEST: u16 = 7;

/// Flags of a shutdown: the sender receives no more, sends no more.
pub(super) const RECEIVES: u32 = 1;
pub(super) const SENDS: u32 = 2;
pub(super) const BOTH: u32 = RECEIVES | SENDS;

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    pub(super) cid: u64,
    pub(super) port: u32,
}

/// A header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) from: End,
    pub(super) to: End,
    /// Bytes of data behind the header.
    pub(super) len: u32,
    pub(super) kind: u16,
    pub(super) op: u16,
    pub(super) flags: u32,
    /// How many bytes its sender keeps for a reader that is slow.
    pub(super) room: u32,
    /// How many bytes its sender has passed on since the connection began, modulo 2^32.
    pub(super) passed_on: u32,
}

impl Packet {
    /// Of its bytes.
    pub(super) fn parse(bytes: [u8; HEADER]) -> Self {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Packet {
            from: End {
                cid: long(0),
                port: word(16),
            },
            to: End {
                cid: long(8),
                port: word(20),
            },
            len: word(24),
            kind: half(28),
            op: half(30),
            flags: word(32),
            room: word(36),
            passed_on: word(40),
        }
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.from.cid.to_le_bytes());
        put(8, &self.to.cid.to_le_bytes());
        put(16, &self.from.port.to_le_bytes());
        put(20, &self.to.port.to_le_bytes());
        put(24, &self.len.to_le_bytes());
        put(28, &self.kind.to_le_bytes());
        put(30, &self.op.to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.room.to_le_bytes());
        put(40, &self.passed_on.to_le_bytes());
        bytes
    }

    /// The answer to a packet for which there is no connection.
    pub(super) fn refusal(&self) -> Self {
        Packet {
            from: self.to,
            to: self.from,
            kind: self.kind,
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
            from: End { cid: 3, port: 4 },
            to: End { cid: 2, port: 1024 },
            len: 5,
            kind: STREAM,
            op: CREDIT_REQUEST,
            flags: BOTH,
            room: 1 << 31,
            passed_on: 9,
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
