//! Build packets for paths of every length, changed anywhere on their way: what is not byte for byte what the client made is refused
//! at the very next relay, with the one error; so is what is for another relay or another key. Unchanged they come through to the request.

use std::sync::OnceLock;

use bauta::crypto::Forged;
use bauta::limits::{BODY_LEN, HOPS_MAX, REQUEST_LEN_MAX};
use bauta::onion::{BuildRefused, OnionKeys, Role, build, peel};
use bauta::time::{Instant, Now};
use bauta::wire::descriptor::VerifiedDescriptor;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, described, identity, network};
use super::script::Script;

const CHANGES_MAX: usize = 16;

/// A packet as it comes to each relay of its path: suite, hint, body.
type Stages = Vec<(u8, u8, Box<[u8; BODY_LEN]>)>;

/// Relays with the secrets of their onion keys.
pub(super) struct World {
    pub(super) path: Vec<VerifiedDescriptor>,
    pub(super) keys: Vec<OnionKeys>,
    /// By length of the path, from one on.
    built: Vec<Stages>,
}

pub(super) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let now = Now { instant: Instant::ZERO, unix: ISSUED };
        let (mut path, mut keys) = (Vec::new(), Vec::new());
        for number in 0..u8::try_from(HOPS_MAX).expect("few") {
            let secret = identity(u32::from(number));
            let own = OnionKeys::new(network(), secret.public(), now, &mut rng);
            let mut described = described(u32::from(number), [10, number, 0, 1]);
            (described.onion_key, described.onion_epoch) = own.public();
            path.push(described.sign(&network(), &secret));
            keys.push(own);
        }
        let mut world = World { path, keys, built: Vec::new() };
        world.built = (1..=HOPS_MAX).map(|hops| world.stages(hops, b"request", &mut rng)).collect();
        world
    })
}

impl World {
    fn stages(&self, hops: usize, request: &[u8], rng: &mut ChaCha20Rng) -> Stages {
        let built = build(&network(), &self.path[..hops], request, ISSUED, rng).expect("a packet");
        let mut stages = vec![(built.suite, built.hint, Box::new(built.body))];
        for at in 0..hops {
            let (suite, hint, body) = stages[at].clone();
            match peel(&self.keys[at].secrets(suite, hint), &body, rng).expect("its own").role {
                Role::Middle { next, suite, hint, body, .. } => {
                    assert_eq!(next, self.path[at + 1].id());
                    stages.push((suite, hint, body));
                }
                Role::Exit { request: came, .. } => {
                    assert_eq!((at + 1, &came[..]), (hops, request));
                }
            }
        }
        assert_eq!(stages.len(), hops);
        stages
    }
}

/// Checks one input. With `fault`, as it would be where a relay looks at the first half alone.
pub fn check(data: &[u8], fault: bool) {
    let (world, mut rng, mut script) = (world(), ChaCha20Rng::seed_from_u64(2), Script::new(data));
    let mode = script.byte();
    let hops = 1 + script.below(HOPS_MAX);
    if mode == 0xff {
        // A packet of its own, up to one byte more than there is room for: slower, so seldom.
        let request = vec![script.byte(); script.below(REQUEST_LEN_MAX + 2)];
        let refused = build(&network(), &world.path[..hops], &request, ISSUED, &mut rng).err();
        assert_eq!(refused, (request.len() > REQUEST_LEN_MAX).then_some(BuildRefused::RequestTooLong));
        if refused.is_none() {
            world.stages(hops, &request, &mut rng);
        }
        return;
    }
    let at = script.below(hops);
    let (suite, hint, sent) = &world.built[hops - 1][at];
    let (mut suite, mut hint, mut body) = (*suite, *hint, sent.clone());
    let (mut reader, mut is_same) = (at, true);
    match mode % 4 {
        0 => reader = script.below(HOPS_MAX),
        1 => (suite, is_same) = (suite ^ script.byte().max(1), false),
        2 => (hint, is_same) = (hint ^ script.byte().max(1), false),
        _ => (),
    }
    for _ in 0..CHANGES_MAX {
        if script.is_over() {
            break;
        }
        script.change(&mut body[..]);
    }
    let is_same = is_same && reader == at && body == *sent;
    if fault {
        body[BODY_LEN / 2..].copy_from_slice(&sent[BODY_LEN / 2..]);
    }
    let opened = peel(&world.keys[reader].secrets(suite, hint), &body, &mut rng);
    assert_eq!(opened.is_ok(), is_same);
    match opened.map(|opened| opened.role) {
        Ok(Role::Middle { next, body, .. }) => {
            assert_eq!((next, &body), (world.path[at + 1].id(), &world.built[hops - 1][at + 1].2));
        }
        Ok(Role::Exit { request, .. }) => assert_eq!((at + 1, &request[..]), (hops, &b"request"[..])),
        Err(Forged) => (),
    }
}
