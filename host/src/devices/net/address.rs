//! A guest's IPv4 address.

use std::net::Ipv4Addr;

/// A guest's IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address itself.
    pub ip: Ipv4Addr,
    /// The length of the network's prefix, 0 to 32.
    pub prefix: u8,
    /// The gateway to everything outside the network.
    pub gateway: Option<Ipv4Addr>,
}

impl Address {
    /// The network mask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        let host_bits = 32_u32.saturating_sub(self.prefix.into());
        Ipv4Addr::from(u32::MAX.checked_shl(host_bits).unwrap_or(0))
    }

    /// The parameter that makes the kernel set it (Documentation/admin-guide/nfs/nfsroot.rst), with a space in front.
    pub(crate) fn command_line(&self) -> String {
        let gateway = self.gateway.map(|gateway| gateway.to_string());
        let (ip, mask) = (self.ip, self.mask());
        format!(" ip={ip}::{}:{mask}:::off", gateway.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_the_address() {
        let mut address = Address {
            ip: Ipv4Addr::new(10, 0, 0, 2),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
        };
        assert_eq!(
            address.command_line(),
            " ip=10.0.0.2::10.0.0.1:255.255.255.0:::off"
        );
        (address.prefix, address.gateway) = (0, None);
        assert_eq!(address.command_line(), " ip=10.0.0.2:::0.0.0.0:::off");
    }
}
