//! The 160-bit keyspace of node ids and locations, and its XOR metric. Source: Maymounkov and Mazières, Kademlia (2002).

use core::ops::RangeInclusive;

use crate::limits::ID_LEN;

/// A node's id or a value's location: a point of the keyspace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; ID_LEN]);

/// A value's location. The same space as node ids.
pub type Location = Id;

/// The XOR of two points, ordered as a big-endian number: its first 128 bits, and its last 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Distance(u128, u32);

const _: () = assert!(ID_LEN == 20);

impl Id {
    /// Distance to another point; zero only to itself, the same both ways.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        let ((high, low), (their_high, their_low)) = (self.halves(), other.halves());
        Distance(high ^ their_high, low ^ their_low)
    }

    /// All points that share so many first bits with this one.
    #[must_use]
    pub fn neighbours(&self, shared: u32) -> RangeInclusive<Self> {
        let (mut first, mut last) = (*self, *self);
        let mut bits = shared;
        for (low, high) in first.0.iter_mut().zip(&mut last.0) {
            let free = u8::MAX.checked_shr(bits).unwrap_or(0);
            *low &= !free;
            *high |= free;
            bits = bits.saturating_sub(8);
        }
        first..=last
    }

    /// Bits in which two points agree before the first difference: 0 to 160.
    #[must_use]
    pub fn common_prefix_len(&self, other: &Self) -> u32 {
        match self.distance(other) {
            Distance(0, low) => u128::BITS + low.leading_zeros(),
            Distance(high, _) => high.leading_zeros(),
        }
    }

    fn halves(&self) -> (u128, u32) {
        let [high @ .., a, b, c, d] = self.0;
        (u128::from_be_bytes(high), u32::from_be_bytes([a, b, c, d]))
    }
}

impl core::fmt::Debug for Id {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8, last: u8) -> Id {
        let mut bytes = [0; ID_LEN];
        bytes[0] = first;
        bytes[ID_LEN - 1] = last;
        Id(bytes)
    }

    #[test]
    fn neighbours_are_those_that_share_so_many_bits() {
        let point = id(0b1010_0000, 7);
        assert_eq!(point.neighbours(0), Id([0; ID_LEN])..=Id([0xff; ID_LEN]));
        assert_eq!(point.neighbours(160), point..=point);
        for shared in [1, 3, 7, 8, 9, 159] {
            for other in [id(0b1010_0000, 6), id(0b1010_0001, 0), id(0b1011_1111, 255), id(0b0010_0000, 7), point] {
                let shares = point.common_prefix_len(&other) >= shared;
                assert_eq!(point.neighbours(shared).contains(&other), shares, "{shared} {other:?}");
            }
        }
    }

    #[test]
    fn distance_is_a_symmetric_metric_with_zero_only_to_itself() {
        let (a, b) = (id(0x80, 1), id(0x81, 3));
        assert_eq!(a.distance(&b), b.distance(&a));
        assert_eq!(a.distance(&a), Distance(0, 0));
        assert!(a.distance(&b) > a.distance(&id(0x80, 9)));
    }

    #[test]
    fn common_prefix_counts_bits_up_to_the_first_difference() {
        for (a, b, bits) in [
            (id(0, 0), id(0, 0), 160),
            (id(0x80, 0), id(0, 0), 0),
            (id(0x81, 0), id(0x80, 0), 7),
            (id(0, 1), id(0, 3), 158),
        ] {
            assert_eq!(a.common_prefix_len(&b), bits);
        }
    }
}
