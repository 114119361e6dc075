//! The options that name devices: a first word, and settings behind commas.

use jiffy::devices::{Address, Card, Disk, Sockets, Spec};
use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// `--disk FILE[,ro][,direct]`. Settings are read from the end, so that a file's name may hold commas.
pub(crate) fn disk(value: OsString) -> Result<Spec, lexopt::Error> {
    let mut disk = Disk::default();
    let mut bytes = value.into_vec();
    loop {
        let before = bytes.len();
        for (setting, set) in [
            (&b",ro"[..], &mut disk.read_only),
            (b",direct", &mut disk.direct),
        ] {
            if let Some(rest) = bytes.strip_suffix(setting) {
                *set = true;
                bytes = rest.to_vec();
            }
        }
        if bytes.len() == before {
            break;
        }
    }
    if bytes.is_empty() {
        return Err("--disk: give a file, such as --disk root.img,ro".into());
    }
    disk.path = OsStr::from_bytes(&bytes).into();
    Ok(Spec::Disk(disk))
}

/// `--net tap=NAME[,ip=A.B.C.D/N[,gw=A.B.C.D]][,mac=XX:XX:XX:XX:XX:XX]`.
pub(crate) fn net(text: &str) -> Result<Spec, lexopt::Error> {
    let wrong = |setting: &str| {
        lexopt::Error::from(format!(
            "--net: {setting:?} is no setting: use tap=NAME,ip=A.B.C.D/N,gw=A.B.C.D,mac=XX:XX:XX:XX:XX:XX"
        ))
    };
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
            return Err(wrong(setting));
        }
    }
    match (&mut card.address, gateway) {
        (Some(address), gateway) => address.gateway = gateway,
        (None, Some(_)) => return Err("--net: gw= needs ip=".into()),
        (None, None) => {}
    }
    if card.tap.is_empty() {
        return Err("--net: name the tap, such as --net tap=tap0".into());
    }
    Ok(Spec::Net(card))
}

/// `--vsock [cid=N,]uds=PATH`. The path is last, so that it may hold commas.
pub(crate) fn vsock(value: OsString) -> Result<Spec, lexopt::Error> {
    let bytes = value.into_vec();
    let cut = |rest: &[u8]| {
        let at = rest.iter().position(|&byte| byte == b',')?;
        let cid = str::from_utf8(&rest[..at]).ok()?.parse().ok()?;
        Some((cid, at + 1))
    };
    let (cid, rest) = match bytes.strip_prefix(b"cid=") {
        Some(rest) => {
            let (cid, at) = cut(rest).ok_or("--vsock: give a number, such as cid=3,uds=PATH")?;
            (cid, &rest[at..])
        }
        None => (3, &bytes[..]),
    };
    match rest.strip_prefix(b"uds=") {
        Some(path) if !path.is_empty() => Ok(Spec::Vsock(Sockets {
            cid,
            path: OsStr::from_bytes(path).into(),
            jail: None,
        })),
        _ => Err("--vsock: name the socket, such as --vsock uds=vsock.sock".into()),
    }
}

fn address_of(text: &str) -> Option<Address> {
    let (ip, prefix) = text.split_once('/')?;
    Some(Address {
        ip: ip.parse().ok()?,
        prefix: prefix.parse().ok().filter(|&prefix| prefix <= 32)?,
        gateway: None,
    })
}

/// A hardware address of one interface: its first bit is that of a group.
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
            let parsed = super::disk(text.into());
            assert!(
                matches!(parsed, Ok(Spec::Disk(found)) if found == disk),
                "{text}"
            );
        }
        assert!(super::disk(",ro".into()).is_err());
    }

    #[test]
    fn sockets_have_an_address_and_a_path() {
        for (text, cid, path) in [
            ("uds=a.sock", 3, "a.sock"),
            ("cid=52,uds=/tmp/a,b", 52, "/tmp/a,b"),
        ] {
            let path = path.into();
            let parsed = vsock(text.into());
            assert!(
                matches!(parsed, Ok(Spec::Vsock(found)) if found == Sockets { cid, path, jail: None }),
                "{text}"
            );
        }
        for text in ["", "uds=", "a.sock", "cid=3", "cid=,uds=a", "cid=-1,uds=a"] {
            assert!(vsock(text.into()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn cards_have_addresses() {
        let Ok(Spec::Net(card)) = net("tap=t,ip=10.0.0.2/24,gw=10.0.0.1,mac=02:00:00:00:00:0a")
        else {
            panic!("refused");
        };
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
            assert!(net(text).is_err(), "{text:?}");
        }
    }
}
