//! What the measurements work on: relays, and what opens a packet at one of them. Shared with `examples/peel_ratio.rs`.

use bauta::crypto::keys::{DhSecret, IdentitySecret};
use bauta::crypto::puzzle::Solution;
use bauta::onion::{OnionKeys, OnionSecrets};
use bauta::time::{Instant, Now, UnixTime};
use bauta::wire::address::Address;
use bauta::wire::descriptor::{Descriptor, VerifiedDescriptor};
use bauta::wire::network::{Network, SUITE};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

pub(crate) const NOW: UnixTime = UnixTime(1_760_000_000);

pub(crate) fn network() -> Network {
    Network::named("costs", 0)
}

pub(crate) fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

/// Three relays, and what opens a packet at the first of them.
pub(crate) fn path(rng: &mut ChaCha20Rng) -> (Vec<VerifiedDescriptor>, OnionSecrets) {
    let (network, start) = (network(), Now { instant: Instant::ZERO, unix: NOW });
    let mut first = None;
    let path = (0..3).map(|_| {
        let identity = IdentitySecret::generate(rng);
        let keys = OnionKeys::new(network, identity.public(), start, rng);
        let (onion_key, onion_epoch) = keys.public();
        let descriptor = Descriptor {
            key: identity.public(),
            solution: Solution { counter: 0, y: [0; 32] },
            link_key: DhSecret::generate(rng).public(),
            onion_epoch,
            onion_key,
            address: Address(([127, 1, 0, 1], 1).into()),
            family: [0; 8],
            versions: (1, 1),
            issued: NOW.to_wire(),
            effort: 0,
        };
        let descriptor = descriptor.sign(&network, &identity);
        first.get_or_insert_with(|| keys.secrets(SUITE, descriptor.onion_hint()));
        descriptor
    });
    let path = path.collect();
    (path, first.expect("there are three"))
}
