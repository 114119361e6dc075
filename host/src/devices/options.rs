//! Devices as options name them: a first word, and settings separated by commas.

use super::block::Disk;
use super::net::{Address, Card};
use super::vsock::Sockets;
use crate::error::ValueError;
use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

/// The CID of a guest that is not given another.
const DEFAULT_CID: u32 = 3;

impl Disk {
    /// Reads `FILE[,ro][,direct]`. Settings are taken from the end, so that a file's name may have commas.
    ///
    /// # Errors
    /// A value without a file.
    pub fn parse(value: &OsStr) -> Result<Self, ValueError> {
        let mut disk = Disk::default();
        let mut bytes = value.as_bytes();
        loop {
            if let Some(rest) = bytes.strip_suffix(b",ro") {
                disk.read_only = true;
                bytes = rest;
            } else if let Some(rest) = bytes.strip_suffix(b",direct") {
                disk.direct = true;
                bytes = rest;
            } else {
                break;
            }
        }
        if bytes.is_empty() {
            return Err(refused(value, "a file, such as root.img,ro"));
        }
        disk.path = OsStr::from_bytes(bytes).into();
        Ok(disk)
    }
}

/// `tap=NAME[,ip=A.B.C.D/N[,gw=A.B.C.D]][,mac=XX:XX:XX:XX:XX:XX]`.
impl FromStr for Card {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut card = Card::default();
        let mut gateway = None;
        for setting in text.split(',') {
            let known = match setting.split_once('=') {
                Some(("tap", name)) if !name.is_empty() => {
                    name.clone_into(&mut card.tap);
                    true
                }
                Some(("ip", address)) => {
                    card.address = address_of(address);
                    card.address.is_some()
                }
                Some(("gw", address)) => {
                    gateway = address.parse::<Ipv4Addr>().ok();
                    gateway.is_some()
                }
                Some(("mac", address)) => {
                    card.mac = mac(address);
                    card.mac.is_some()
                }
                _ => false,
            };
            if !known {
                let settings = "tap=NAME,ip=A.B.C.D/N,gw=A.B.C.D,mac=XX:XX:XX:XX:XX:XX";
                return Err(ValueError::new(setting, settings));
            }
        }
        match (&mut card.address, gateway) {
            (Some(address), gateway) => address.gateway = gateway,
            (None, Some(_)) => return Err(ValueError::new(text, "ip= where there is gw=")),
            (None, None) => {}
        }
        if card.tap.is_empty() {
            return Err(ValueError::new(text, "the name of a tap, such as tap=tap0"));
        }
        Ok(card)
    }
}

impl Sockets {
    /// Reads `[cid=N,]uds=PATH`. The path comes last, so that it may have commas.
    ///
    /// # Errors
    /// A value without a path, or with a CID that is no number.
    pub fn parse(value: &OsStr) -> Result<Self, ValueError> {
        let bytes = value.as_bytes();
        let (cid, rest) = match bytes.strip_prefix(b"cid=") {
            Some(rest) => cid_of(rest)
                .ok_or_else(|| refused(value, "a number as the CID, such as cid=3,uds=PATH"))?,
            None => (DEFAULT_CID, bytes),
        };
        match rest.strip_prefix(b"uds=") {
            Some(path) if !path.is_empty() => Ok(Sockets {
                cid,
                path: OsStr::from_bytes(path).into(),
                jail: None,
            }),
            _ => Err(refused(
                value,
                "the path of a socket, such as uds=vsock.sock",
            )),
        }
    }
}

fn refused(value: &OsStr, expected: &'static str) -> ValueError {
    ValueError::new(&value.to_string_lossy(), expected)
}

/// The number before a comma, and what follows the comma.
fn cid_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let at = bytes.iter().position(|&byte| byte == b',')?;
    let cid = str::from_utf8(&bytes[..at]).ok()?.parse().ok()?;
    Some((cid, &bytes[at + 1..]))
}

fn address_of(text: &str) -> Option<Address> {
    let (ip, prefix) = text.split_once('/')?;
    Some(Address {
        ip: ip.parse().ok()?,
        prefix: prefix.parse().ok().filter(|&prefix| prefix <= 32)?,
        gateway: None,
    })
}

/// The MAC address of one interface: its first bit is that of a group.
fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| {
            u8::from_str_radix(byte, 16)
                .ok()
                .filter(|_| byte.len() == 2)
        })
        .collect();
    bytes?
        .try_into()
        .ok()
        .filter(|mac: &[u8; 6]| mac[0] & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_the_file() {
        for (text, path, read_only, direct) in [
            ("root.img", "root.img", false, false),
            ("root.img,ro", "root.img", true, false),
            ("a,b.img,ro,direct", "a,b.img", true, true),
            ("a.img,direct,ro", "a.img", true, true),
            ("a,rot", "a,rot", false, false),
        ] {
            let disk = Disk {
                path: path.into(),
                read_only,
                direct,
            };
            assert_eq!(Disk::parse(text.as_ref()), Ok(disk), "{text}");
        }
        assert!(Disk::parse(",ro".as_ref()).is_err());
    }

    #[test]
    fn sockets_have_an_address_and_a_path() {
        for (text, cid, path) in [
            ("uds=a.sock", 3, "a.sock"),
            ("cid=52,uds=/tmp/a,b", 52, "/tmp/a,b"),
        ] {
            let (path, jail) = (path.into(), None);
            let sockets = Sockets { cid, path, jail };
            assert_eq!(Sockets::parse(text.as_ref()), Ok(sockets), "{text}");
        }
        for text in ["", "uds=", "a.sock", "cid=3", "cid=,uds=a", "cid=-1,uds=a"] {
            assert!(Sockets::parse(text.as_ref()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn cards_have_addresses() {
        let card = "tap=t,ip=10.0.0.2/24,gw=10.0.0.1,mac=02:00:00:00:00:0a";
        let card: Card = card.parse().unwrap();
        let address = card.address.unwrap();
        assert_eq!((card.tap.as_str(), address.prefix), ("t", 24));
        assert_eq!(address.gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(card.mac.unwrap()[5], 10);
        for text in [
            "",
            "tap=",
            "ip=10.0.0.2/24",
            "tap=t,ip=10.0.0.2",
            "tap=t,ip=10.0.0.2/33",
            "tap=t,gw=10.0.0.1",
            "tap=t,mac=01:00:00:00:00:00",
            "tap=t,mac=2:0:0:0:0:0",
            "tap=t,speed=11",
        ] {
            assert!(text.parse::<Card>().is_err(), "{text:?}");
        }
    }
}
