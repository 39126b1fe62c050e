//! One layer of a build packet, with real keys: any bytes but the packet itself are refused, with one error, and the packet
//! still opens afterwards.

use std::sync::OnceLock;

use bauta::crypto::keys::{DhSecret, IdentitySecret};
use bauta::crypto::puzzle::Solution;
use bauta::limits::BODY_LEN;
use bauta::onion::{OnionKeys, OnionSecrets, Role, build, peel};
use bauta::time::{Instant, Now, UnixTime};
use bauta::wire::address::Address;
use bauta::wire::descriptor::Descriptor;
use bauta::wire::network::{Network, SUITE};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

const NOW: UnixTime = UnixTime(1_200_000);

struct World {
    secrets: OnionSecrets,
    packet: [u8; BODY_LEN],
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let network = Network::named("fuzz", 0);
        let identity = IdentitySecret::generate(&mut rng);
        let keys = OnionKeys::new(network, identity.public(), Now { instant: Instant::ZERO, unix: NOW }, &mut rng);
        let (onion_key, onion_epoch) = keys.public();
        let descriptor = Descriptor {
            key: identity.public(),
            solution: Solution { counter: 0, y: [0; 32] },
            link_key: DhSecret::generate(&mut rng).public(),
            onion_epoch,
            onion_key,
            address: Address("127.1.0.1:1".parse().expect("an address")),
            family: [0; 8],
            versions: (1, 1),
            issued: NOW.to_wire(),
            effort: 0,
        };
        let descriptor = descriptor.sign(&network, &identity);
        let secrets = keys.secrets(SUITE, descriptor.onion_hint());
        let packet = build(&network, &[descriptor], b"request", NOW, &mut rng).expect("a packet").body;
        World { secrets, packet }
    })
}

/// Checks one input. With `fault`, as it would be where a packet is peeled without a look at its last byte.
pub fn check(data: &[u8], fault: bool) {
    let world = world();
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    // Two bytes of position, then what is written there: mutations of a real packet, or a packet of the fuzzer's own.
    let mut body = world.packet;
    if let Some(([high, low], rest)) = data.split_first_chunk::<2>() {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % BODY_LEN;
        body.iter_mut().skip(at).zip(rest).for_each(|(to, from)| *to = *from);
    }
    let mut shown = body;
    if fault {
        shown[BODY_LEN - 1] = world.packet[BODY_LEN - 1];
    }
    let opened = peel(&world.secrets, &shown, &mut rng);
    assert_eq!(opened.is_ok(), body == world.packet);
    if let Ok(peeled) = opened {
        let Role::Exit { request, .. } = peeled.role else { panic!("it was built for one hop") };
        assert_eq!(request, b"request");
    }
}
