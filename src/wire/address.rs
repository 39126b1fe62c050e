//! A relay's address, 19 bytes: family (4 or 6), 16 bytes (IPv4 in the first four, then zeros), port. And its prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::codec::{Malformed, Reader};

/// Where a relay listens. Taken from signed descriptors and configuration alone, never from a packet's routing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub SocketAddr);

/// The leading bytes of an address that make a group; the family in front, unused bytes zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix([u8; 9]);

impl Address {
    /// Appends the 19 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self.0.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
                out.extend_from_slice(&[0; 12]);
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&self.0.port().to_be_bytes());
    }

    /// Reads the 19 bytes; IPv4 in IPv6 clothes is refused, so that one host has one encoding.
    ///
    /// # Errors
    /// [`Malformed`] for another family, non-zero unused bytes, or a port of 0.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let ip = match reader.field("address family").u8()? {
            4 => {
                let ip = IpAddr::V4(Ipv4Addr::from(reader.field("address").array::<4>()?));
                reader.say(|| ip.to_string());
                if reader.field("address unused").array::<12>()? != [0; 12] {
                    return Err(Malformed::Value);
                }
                ip
            }
            6 => {
                let ip = IpAddr::V6(Ipv6Addr::from(reader.field("address").array::<16>()?));
                reader.say(|| ip.to_string());
                ip
            }
            _ => return Err(Malformed::Value),
        };
        let port = reader.field("port").u16()?;
        if port == 0 || matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
            return Err(Malformed::Value);
        }
        Ok(Self(SocketAddr::new(ip, port)))
    }

    /// IPv4 /16 or IPv6 /32: no two hops of a path share one.
    #[must_use]
    pub fn wide_prefix(&self) -> Prefix {
        self.prefix(2, 4)
    }

    /// IPv4 /24 or IPv6 /48: capped in buckets, tables, signers and handshakes.
    #[must_use]
    pub fn narrow_prefix(&self) -> Prefix {
        self.prefix(3, 6)
    }

    /// The first `v4` bytes of an IPv4 address or `v6` bytes of an IPv6 address (at most 8).
    #[must_use]
    pub fn prefix(&self, v4: usize, v6: usize) -> Prefix {
        let mut bytes = [0; 9];
        let fill = |bytes: &mut [u8; 9], family: u8, octets: &[u8], len: usize| {
            let source = core::iter::once(&family).chain(octets.iter().take(len));
            bytes.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        };
        match self.0.ip() {
            IpAddr::V4(ip) => fill(&mut bytes, 4, &ip.octets(), v4),
            IpAddr::V6(ip) => fill(&mut bytes, 6, &ip.octets(), v6),
        }
        Prefix(bytes)
    }
}

impl Prefix {
    /// The bytes, for hashing.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 9] {
        &self.0
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Address(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address(text.parse().unwrap())
    }

    // [MEMB-R-002]
    #[test]
    fn addresses_survive_the_wire_and_have_one_encoding() {
        for text in ["127.3.0.1:7000", "[2001:db8::1]:1"] {
            let mut bytes = Vec::new();
            address(text).encode(&mut bytes);
            assert_eq!(bytes.len(), 19);
            assert_eq!(Address::decode(&mut Reader::new(&bytes)), Ok(address(text)));
        }
        let mut mapped = Vec::new();
        address("[::ffff:1.2.3.4]:1").encode(&mut mapped);
        assert_eq!(Address::decode(&mut Reader::new(&mapped)), Err(Malformed::Value));
    }

    #[test]
    fn prefixes_group_by_sixteen_and_twenty_four_bits() {
        assert_eq!(address("10.1.2.3:1").wide_prefix(), address("10.1.9.9:2").wide_prefix());
        assert_ne!(address("10.1.2.3:1").wide_prefix(), address("10.2.2.3:1").wide_prefix());
        assert_ne!(address("10.1.2.3:1").narrow_prefix(), address("10.1.3.3:1").narrow_prefix());
        assert_ne!(address("10.1.2.3:1").wide_prefix(), address("[a01::]:1").wide_prefix());
    }
}
