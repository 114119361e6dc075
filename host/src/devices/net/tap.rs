//! A tap: the host's end of a guest's network card.
//!
//! unsafe lives here because taps and the addresses of interfaces are set up by ioctl.
#![allow(unsafe_code)]

use super::address::Address;
use crate::base::cast::to_u32;
use crate::error::{Error, Result};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use virtio_bindings::virtio_net::virtio_net_hdr_mrg_rxbuf;

/// The size of the header in front of each packet, with the number of buffers.
pub(super) const HEADER: usize = size_of::<virtio_net_hdr_mrg_rxbuf>();

/// Opens a tap that exists, or makes one, which then gets the address of the guest's gateway, if there is one, and exists
/// while it is open.
///
/// # Errors
/// What could not be done, and what to do about it.
pub(super) fn open(name: &str, address: Option<&Address>) -> Result<File> {
    let failed = |what: &str, error: io::Error| {
        let advice = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => format!(
                "; make it once with `sudo ip tuntap add {name} mode tap user $USER vnet_hdr`, give it an address, and set it up"
            ),
            Some(libc::EBUSY) => "; another process has it open".to_owned(),
            _ => String::new(),
        };
        Error::Device(format!("--net tap={name}: {what}: {error}{advice}"))
    };
    let c_name = CString::new(name)
        .ok()
        .filter(|name| (1..libc::IFNAMSIZ).contains(&name.count_bytes()))
        .ok_or_else(|| {
            Error::Device(format!(
                "--net tap={name}: this is not the name of an interface"
            ))
        })?;
    // SAFETY: the name is a C string.
    let exists = unsafe { libc::if_nametoindex(c_name.as_ptr()) } != 0;
    let tap = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(|error| failed("/dev/net/tun", error))?;
    let mut request = request(&c_name);
    request.ifr_ifru.ifru_flags = flags(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR);
    control(&tap, libc::TUNSETIFF, &raw mut request).map_err(|error| failed("TUNSETIFF", error))?;
    let mut header: libc::c_int = to_u32(HEADER).cast_signed();
    control(&tap, libc::TUNSETVNETHDRSZ, &raw mut header)
        .map_err(|error| failed("TUNSETVNETHDRSZ", error))?;
    if !exists {
        bring_up(&c_name, address).map_err(|error| failed("its address", error))?;
    }
    Ok(tap)
}

/// Says what packets the guest accepts: unfinished checksums, and segments larger than a frame.
///
/// # Errors
/// The kernel's error.
pub(super) fn set_offloads(tap: &File, checksum: bool, tso4: bool, tso6: bool) -> io::Result<()> {
    let flag = |on: bool, bit: libc::c_uint| if on { bit } else { 0 };
    let flags = flag(checksum, libc::TUN_F_CSUM)
        | flag(tso4, libc::TUN_F_TSO4)
        | flag(tso6, libc::TUN_F_TSO6);
    // SAFETY: this call takes its argument by value.
    checked(unsafe {
        libc::ioctl(
            tap.as_raw_fd(),
            libc::TUNSETOFFLOAD as _,
            libc::c_ulong::from(flags),
        )
    })
}

fn bring_up(name: &CString, address: Option<&Address>) -> io::Result<()> {
    // SAFETY: a new descriptor, owned at once.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        checked(fd)?;
        <File as std::os::fd::FromRawFd>::from_raw_fd(fd)
    };
    let mut interface = request(name);
    if let Some((address, gateway)) = address.and_then(|own| Some((own, own.gateway?))) {
        interface.ifr_ifru.ifru_addr = socket_address(gateway);
        control(&socket, libc::SIOCSIFADDR, &raw mut interface)?;
        interface.ifr_ifru.ifru_addr = socket_address(address.mask());
        control(&socket, libc::SIOCSIFNETMASK, &raw mut interface)?;
    }
    control(&socket, libc::SIOCGIFFLAGS, &raw mut interface)?;
    // SAFETY: the call above filled this member; all of them are plain data.
    unsafe { interface.ifr_ifru.ifru_flags |= flags(libc::IFF_UP) };
    control(&socket, libc::SIOCSIFFLAGS, &raw mut interface)
}

/// Flags of an interface as `ifreq` takes them: a short.
#[expect(clippy::cast_possible_truncation, reason = "all of them have 16 bits")]
const fn flags(flags: libc::c_int) -> libc::c_short {
    flags as libc::c_short
}

fn request(name: &CString) -> libc::ifreq {
    // SAFETY: plain data.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (into, &byte) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *into = byte.cast_signed();
    }
    request
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (into, byte) in data[2..].iter_mut().zip(address.octets()) {
        *into = byte.cast_signed();
    }
    #[expect(clippy::cast_possible_truncation, reason = "AF_INET is 2")]
    const FAMILY: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
    libc::sockaddr {
        sa_family: FAMILY,
        sa_data: data,
    }
}

fn control<T>(file: &File, call: impl TryInto<libc::Ioctl>, argument: *mut T) -> io::Result<()> {
    let call = call.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: every caller gives the structure that its call reads or writes.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), call, argument) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
