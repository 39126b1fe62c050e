//! What colluders share: who they are, and whom they have invented. It must not know what they do with it.

use std::collections::BTreeSet;

use crate::crypto::keys::{DhKey, DhSecret, IdentitySecret, NodeKey};
use crate::crypto::random_bytes;
use crate::keyspace::Location;
use crate::limits::{BUCKET_SIZE, MEMBERS_MAX};
use crate::membership::differences::page;
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::sim::world::{NodeNo, World};
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::descriptor::{Descriptor, SignedDescriptor, VerifiedDescriptor};
use crate::wire::network::{Network, VERSIONS};

/// Relays that a ring invents, at most; fewer than it has itself are never too few.
const INVENTED_MAX: usize = 1_000;
/// Contacts of a lie that nobody is behind.
const INVENTED_CONTACTS: usize = BUCKET_SIZE / 2;

/// The colluders.
pub struct Ring {
    /// The network whose questions they answer.
    pub network: Network,
    keys: BTreeSet<NodeKey>,
    link_keys: BTreeSet<DhKey>,
    members: Members,
    /// What they tell of: themselves and the invented ones. The second differs in the invented ones' descriptors alone.
    told: [Members; 2],
}

impl Ring {
    /// These relays, with as many invented ones if they are to tell of any.
    #[must_use]
    pub fn of(world: &mut World, relays: &[NodeNo], invents: bool) -> Self {
        let unix = world.unix();
        let shown: Vec<VerifiedDescriptor> =
            relays.iter().filter_map(|relay| world.descriptor_of(*relay).cloned()).collect();
        let mut members = Members::new(MEMBERS_MAX).with_rule(PrefixRule::RelaxedForOneHost);
        members.merge_all(shown.iter().cloned(), unix);
        let mut told = [members.clone(), members.clone()];
        let count = if invents { shown.len().min(INVENTED_MAX) } else { 0 };
        let invented: Vec<_> = (0..count).map(|_| invent(world)).collect();
        for (at, told) in told.iter_mut().enumerate() {
            told.merge_all(invented.iter().filter_map(|two| two.get(at).cloned()), unix);
        }
        Self {
            network: world.network(),
            keys: shown.iter().map(|one| one.key).collect(),
            link_keys: shown.iter().map(|one| one.link_key).collect(),
            members,
            told,
        }
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, key: &NodeKey) -> bool {
        self.keys.contains(key)
    }

    /// Whether one of them has this link key.
    #[must_use]
    pub fn has_link(&self, key: &DhKey) -> bool {
        self.link_keys.contains(key)
    }

    /// A full answer of contacts: colluders as near as there are, and nearer ones that do not exist.
    #[must_use]
    pub fn closest(&self, location: &Location) -> Vec<Contact> {
        let own = self.members.closest(location, BUCKET_SIZE - INVENTED_CONTACTS, |_| false);
        let mut contacts: Vec<Contact> = own.into_iter().map(Contact::from).collect();
        let numbered = (1..=u8::MAX).take(INVENTED_CONTACTS);
        contacts.extend(numbered.map(|number| {
            let mut id = *location;
            if let Some(last) = id.0.last_mut() {
                *last ^= number;
            }
            Contact { id, link_key: DhKey([number; 32]), address: Address(([198, 51, 100, number], 7_000).into()) }
        }));
        contacts
    }

    /// A page of the membership between two keys as they tell it; `otherwise` with the second descriptors of the invented.
    #[must_use]
    pub fn page(
        &self,
        after: Option<NodeKey>,
        until: Option<NodeKey>,
        otherwise: bool,
    ) -> (Vec<SignedDescriptor>, bool) {
        let [one, other] = &self.told;
        let (page, more) = page(if otherwise { other } else { one }.between(after, until).iter());
        (page.into_iter().map(VerifiedDescriptor::to_signed).collect(), more)
    }
}

/// A relay that nobody runs, with two descriptors of one number.
fn invent(world: &mut World) -> [VerifiedDescriptor; 2] {
    let (network, issued) = (world.network(), world.unix().to_wire());
    let rng = world.rng();
    let secret = IdentitySecret::generate(rng);
    let link_key = DhSecret::generate(rng).public();
    let [high, low] = random_bytes(rng);
    // Mostly alone in its /16, which is what draws go by.
    let address = Address(([high.max(1), low, 77, 1], 7_000).into());
    let key = secret.public();
    let describe = |onion_key| {
        let solution = World::solution_of(&key, 0);
        let (family, versions) = ([0; 8], VERSIONS);
        let onion_epoch = issued;
        Descriptor { key, solution, link_key, onion_epoch, onion_key, address, family, versions, issued, effort: 0 }
            .sign(&network, &secret)
    };
    let onion_keys = [DhSecret::generate(rng).public(), DhSecret::generate(rng).public()];
    onion_keys.map(describe)
}
