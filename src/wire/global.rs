//! Which addresses are global: those that a host of the public internet can have. Source: spec/membership.md §8.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Address;

/// Blocks of IPv4, each with the length of its prefix, that no host of the public internet has.
/// Source: IANA IPv4 Special-Purpose Address Registry (RFC 6890), and RFC 5771 for multicast.
const SPECIAL_V4: [(Ipv4Addr, u32); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// All of IPv6 that hosts are given: global unicast. Source: RFC 4291 §2.4 and IANA IPv6 Address Space.
const UNICAST_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks within it that no host of the public internet has, or that hold an IPv4 address: Teredo is in the first, 6to4 the third.
/// Source: IANA IPv6 Special-Purpose Address Registry (RFC 6890).
const SPECIAL_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn is_in_v4(ip: Ipv4Addr, (block, len): (Ipv4Addr, u32)) -> bool {
    (ip.to_bits() ^ block.to_bits()).leading_zeros() >= len
}

fn is_in_v6(ip: Ipv6Addr, (block, len): (Ipv6Addr, u32)) -> bool {
    (ip.to_bits() ^ block.to_bits()).leading_zeros() >= len
}

impl Address {
    /// Whether a host of the public internet can have it: neither private, loopback, link-local, multicast, unspecified, for
    /// documentation, nor of any other block that is set apart, and its port is not 0.
    #[must_use]
    pub fn is_global(&self) -> bool {
        let is_given = match self.0.ip() {
            IpAddr::V4(ip) => !SPECIAL_V4.into_iter().any(|block| is_in_v4(ip, block)),
            IpAddr::V6(ip) => is_in_v6(ip, UNICAST_V6) && !SPECIAL_V6.into_iter().any(|block| is_in_v6(ip, block)),
        };
        is_given && self.0.port() != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_global(ip: &str) -> bool {
        Address((ip.parse::<IpAddr>().unwrap(), 443).into()).is_global()
    }

    /// The first and the last address of each block, and their neighbours outside: global, unless another block begins there.
    const EDGES: [(&str, &str, Option<&str>, Option<&str>); 31] = [
        ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
        ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
        ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
        ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
        ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
        ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
        ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
        ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
        ("192.31.196.0", "192.31.196.255", Some("192.31.195.255"), Some("192.31.197.0")),
        ("192.52.193.0", "192.52.193.255", Some("192.52.192.255"), Some("192.52.194.0")),
        ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
        ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
        ("192.175.48.0", "192.175.48.255", Some("192.175.47.255"), Some("192.175.49.0")),
        ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
        ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
        ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
        ("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None),
        // Unspecified, loopback, IPv4-compatible, IPv4-mapped, NAT64, discard, and whatever else is below global unicast.
        ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, Some("2000::")),
        ("::1", "::1", None, None),
        ("::7f00:1", "::10.0.0.1", None, None),
        ("::ffff:10.0.0.1", "::ffff:8.8.8.8", None, None),
        ("64:ff9b::10.0.0.1", "64:ff9b:1::1", None, None),
        ("100::", "100::1", None, None),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2000:ffff::"), Some("2001:200::")),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:db7::"), Some("2001:db9::")),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:ffff::"), Some("2003::")),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Some("2620:4f:7fff::"), Some("2620:4f:8001::")),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Some("3ffe:ffff::"), Some("3fff:1000::")),
        // Local unicast, link-local, site-local, multicast, and whatever else is above global unicast.
        ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("3fff:ffff::"), None),
        ("fc00::1", "fd12:3456::1", None, None),
        ("fe80::1", "ff02::1", None, None),
    ];

    // [MEMB-R-065]
    #[test]
    fn each_special_block_begins_and_ends_where_its_registry_says() {
        for (first, last, before, after) in EDGES {
            assert!(!is_global(first) && !is_global(last), "{first} to {last}");
            for neighbour in before.into_iter().chain(after) {
                assert!(is_global(neighbour), "{neighbour}");
            }
        }
        assert!(!Address("9.9.9.9:0".parse().unwrap()).is_global(), "port 0");
    }

    proptest! {
        #[test]
        fn what_the_standard_library_takes_for_private_is_never_global(bits in any::<u128>(), v4 in any::<u32>()) {
            let (v6, v4) = (Ipv6Addr::from_bits(bits), Ipv4Addr::from_bits(v4));
            let local = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast();
            if local || v4.is_unspecified() || v4.is_broadcast() || v4.is_documentation() {
                prop_assert!(!Address((v4, 1).into()).is_global());
            }
            let local = v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local() || v6.is_multicast();
            if local || v6.is_unspecified() || v6.to_ipv4().is_some() {
                prop_assert!(!Address((v6, 1).into()).is_global());
            }
        }
    }
}
