//! A circuit of one to five hops: reply 0, then cells both ways in any order, changed, repeated, swapped, or with a layer left out on
//! their way. The client takes only what the exit sealed for its place, through every hop; a relay only what the client sealed; a relay that
//! refuses a cell still takes the right one.

use bauta::limits::{BODY_LEN, CIRCUIT_DATA_LEN_MAX, HOPS_MAX, REPLY0_DATA_LEN_MAX, REPLY0_OVERHEAD_LEN};
use bauta::onion::{Building, Circuit, ExitHop, MiddleHop, Reply0, Role, build, peel};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::onion_build::world;
use super::relays::{ISSUED, network};
use super::script::Script;

const STEPS_MAX: usize = 32;

type Body = [u8; BODY_LEN];

struct Through {
    middles: Vec<MiddleHop>,
    exit: ExitHop,
    rng: ChaCha20Rng,
}

fn begin(hops: usize) -> (Building, Through) {
    let (world, mut rng) = (world(), ChaCha20Rng::seed_from_u64(3));
    let built = build(&network(), &world.path[..hops], b"request", ISSUED, &mut rng).expect("a packet");
    let (mut suite, mut hint, mut body, mut middles) = (built.suite, built.hint, built.body, Vec::new());
    for keys in &world.keys {
        match peel(&keys.secrets(suite, hint), &body, &mut rng).expect("its own").role {
            Role::Middle { suite: s, hint: h, body: b, hop, .. } => {
                (suite, hint, body) = (s, h, *b);
                middles.push(hop);
            }
            Role::Exit { hop, .. } => return (built.building, Through { middles, exit: hop, rng }),
        }
    }
    unreachable!("the last relay is the exit")
}

/// Reply 0, as the script has it: the circuit, if there is one. A change between a hop and the next that cuts the changed byte off
/// reaches nobody; any other is refused.
fn reply0(script: &mut Script<'_>, building: Building, through: &mut Through, fault: bool) -> Option<Circuit> {
    let (mode, hops) = (script.byte(), through.middles.len() + 1);
    let data = vec![script.byte(); script.below(REPLY0_DATA_LEN_MAX + 1)];
    if mode % 8 == 7 && hops > 1 {
        // The path ends early, and the last that was passed says so.
        let at = script.below(hops - 1);
        let mut before: Vec<MiddleHop> = through.middles.drain(..=at).collect();
        let mut body = before.pop()?.not_reached().expect("its first reply");
        body = before.iter_mut().rev().fold(body, |body, hop| hop.wrap_reply0(&body).expect("its first reply"));
        assert!(matches!(building.open_reply0(&body), Ok(Reply0::NotReached { hops }) if hops == at + 1));
        return None;
    }
    let mut body = through.exit.seal_reply0(&data).expect("it fits");
    assert!(through.exit.seal_reply0(&data).is_err(), "the nonce of reply 0 is used once");
    let (changed_after, left_out) = (usize::from(mode >> 4), usize::from(mode & 7).wrapping_sub(3));
    let mut holds = true;
    for at in 0..hops {
        if at > 0 && at != left_out {
            body = through.middles[hops - 1 - at].wrap_reply0(&body).expect("its first reply");
        }
        holds &= at == 0 || at != left_out;
        if at == changed_after {
            let before = body;
            script.change(&mut body);
            let reaches = if at + 1 == hops { BODY_LEN } else { BODY_LEN - REPLY0_OVERHEAD_LEN };
            holds &= body[..reaches] == before[..reaches];
            if fault {
                body = before;
            }
        }
    }
    let opened = building.open_reply0(&body);
    assert_eq!(opened.is_ok(), holds);
    match opened.ok()? {
        Reply0::Exit(circuit, came) => {
            assert_eq!(came, data);
            Some(circuit)
        }
        Reply0::NotReached { .. } => panic!("nobody said so"),
    }
}

impl Through {
    /// One cell to the exit; before each hop, if the script says so, the hop is shown another one.
    fn forward(&mut self, script: &mut Script<'_>, circuit: &mut Circuit) {
        let data = vec![script.byte(); script.below(CIRCUIT_DATA_LEN_MAX + 1)];
        let mut body = circuit.seal_forward(&data, &mut self.rng).expect("it fits");
        let changed_before = script.byte();
        for (at, hop) in self.middles.iter_mut().enumerate() {
            if changed_before & (1 << at) != 0 {
                let mut changed = body;
                script.change(&mut changed);
                assert!(hop.peel_forward(&changed).is_err());
            }
            body = hop.peel_forward(&body).expect("the next cell");
        }
        if changed_before & 0x80 != 0 {
            let mut changed = body;
            script.change(&mut changed);
            assert!(self.exit.open_forward(&changed).is_err());
        }
        assert_eq!(self.exit.open_forward(&body), Ok(data));
        assert!(self.exit.open_forward(&body).is_err(), "it came before");
    }

    fn backward(&mut self, data: &[u8], left_out: Option<usize>) -> Body {
        let body = self.exit.seal_backward(data).expect("it fits");
        let wrap = |body: Body, (at, hop): (usize, &mut MiddleHop)| {
            if left_out == Some(at) { body } else { hop.wrap_backward(&body).expect("never for a body") }
        };
        self.middles.iter_mut().enumerate().rev().fold(body, wrap)
    }
}

/// Checks one input. With `fault`, as it would be where a client does not see what was changed in reply 0.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let hops = 1 + script.below(HOPS_MAX);
    let (building, mut through) = begin(hops);
    let Some(mut circuit) = reply0(&mut script, building, &mut through, fault) else { return };
    let mut last = None;
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        let data = vec![op; script.below(CIRCUIT_DATA_LEN_MAX + 1)];
        // After one refusal the circuit is dead.
        match op % 8 {
            0..=2 => through.forward(&mut script, &mut circuit),
            3 | 4 => {
                let body = through.backward(&data, None);
                assert_eq!(circuit.open_backward(&body), Ok(data));
                last = Some(body);
            }
            5 => {
                let mut body = through.backward(&data, None);
                script.change(&mut body);
                return assert!(circuit.open_backward(&body).is_err());
            }
            6 => {
                let left_out = script.below(hops.max(2) - 1);
                let body = through.backward(&data, Some(left_out));
                return assert_eq!(circuit.open_backward(&body).is_err(), hops > 1);
            }
            _ => {
                let skipped = through.backward(&data, None);
                let body = last.unwrap_or_else(|| through.backward(&data, None));
                assert_ne!(skipped, body);
                return assert!(circuit.open_backward(&body).is_err());
            }
        }
    }
}
