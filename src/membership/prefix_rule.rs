//! How far relays of one operator must be kept apart. Decides on two descriptors; knows no table and no path.

use crate::limits::{PREFIX_PER_BUCKET_MAX, PREFIX_PER_TABLE_MAX};
use crate::wire::descriptor::VerifiedDescriptor;

/// Whether addresses keep relays apart. Nothing but the configuration of a demo ever relaxes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PrefixRule {
    /// No two hops in one IPv4 /16 or IPv6 /32; caps per IPv4 /24 and IPv6 /48.
    #[default]
    Distinct,
    /// A whole network on one host with one address: prefixes are not looked at. Protects nobody.
    RelaxedForOneHost,
}

impl PrefixRule {
    /// Whether two relays may stand in one path: different keys, different families, different wide prefixes.
    #[must_use]
    pub fn allows_together(self, one: &VerifiedDescriptor, other: &VerifiedDescriptor) -> bool {
        one.key != other.key && !one.is_family_of(other) && (self.is_relaxed() || !share_wide_prefix(one, other))
    }

    /// Nodes of one narrow prefix in a bucket or a closest set.
    #[must_use]
    pub fn bucket_max(self) -> usize {
        if self.is_relaxed() { usize::MAX } else { PREFIX_PER_BUCKET_MAX }
    }

    /// Nodes of one narrow prefix in a routing table.
    #[must_use]
    pub fn table_max(self) -> usize {
        if self.is_relaxed() { usize::MAX } else { PREFIX_PER_TABLE_MAX }
    }

    fn is_relaxed(self) -> bool {
        self == Self::RelaxedForOneHost
    }
}

fn share_wide_prefix(one: &VerifiedDescriptor, other: &VerifiedDescriptor) -> bool {
    one.address.wide_prefix() == other.address.wide_prefix()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::fixture::{described, relay_at, signed};

    // [MEMB-W-060] [MEMB-W-064]
    #[test]
    fn one_key_one_family_and_one_wide_prefix_are_kept_apart() {
        let family = |number, ip| {
            let mut descriptor = described(number, ip);
            descriptor.family = [7; 8];
            signed(descriptor, number)
        };
        let one = relay_at(1, [10, 1, 0, 1]);
        let rows = [
            (one.clone(), relay_at(2, [10, 2, 0, 1]), true, true),
            (one.clone(), relay_at(2, [10, 1, 9, 9]), false, true),
            (one.clone(), relay_at(1, [10, 2, 0, 1]), false, false),
            (family(1, [10, 1, 0, 1]), family(2, [10, 2, 0, 1]), false, false),
        ];
        for (one, other, distinct, relaxed) in rows {
            assert_eq!(PrefixRule::Distinct.allows_together(&one, &other), distinct);
            assert_eq!(PrefixRule::RelaxedForOneHost.allows_together(&one, &other), relaxed);
        }
    }
}
