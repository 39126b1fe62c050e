//! The membership against a model, and against itself in another order: the greatest number of a relay wins, two of one number ban it,
//! no cap is passed, no id belongs to two, all at once is the same as one by one, and where nobody lied the order does not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use bauta::crypto::keys::NodeKey;
use bauta::keyspace::Id;
use bauta::limits::{DESCRIPTOR_LIFE_S, PREFIX_PER_BUCKET_MAX};
use bauta::membership::members::{Members, Merge};
use bauta::time::UnixTime;
use bauta::wire::descriptor::VerifiedDescriptor;

use super::relays::{ISSUED, described, identity, network};
use super::script::Script;

const RELAYS: usize = 12;
const NUMBERS: usize = 3;
const STEPS_MAX: usize = 96;

/// By relay, number and content.
fn pool() -> &'static [[[VerifiedDescriptor; 2]; NUMBERS]; RELAYS] {
    static POOL: OnceLock<[[[VerifiedDescriptor; 2]; NUMBERS]; RELAYS]> = OnceLock::new();
    let number = |at: usize| u32::try_from(at).expect("few");
    POOL.get_or_init(|| {
        core::array::from_fn(|relay| {
            core::array::from_fn(|issued| {
                core::array::from_fn(|content| {
                    // Four relays to a /24.
                    let mut own = described(number(relay), [10, 1, number(relay / 4).to_be_bytes()[3], 1]);
                    own.issued += number(issued) * 1_000;
                    own.effort = number(content).to_be_bytes()[3];
                    own.sign(&network(), &identity(number(relay)))
                })
            })
        })
    })
}

#[derive(Clone)]
struct Model {
    cap: usize,
    held: BTreeMap<NodeKey, VerifiedDescriptor>,
    banned: BTreeSet<NodeKey>,
}

fn is_over(one: &VerifiedDescriptor, now: UnixTime) -> bool {
    now.0 > u64::from(one.issued) + DESCRIPTOR_LIFE_S
}

impl Model {
    fn merge(&mut self, one: &VerifiedDescriptor, now: UnixTime) -> Merge {
        if self.banned.contains(&one.key) {
            return Merge::Conflict;
        }
        if is_over(one, now) {
            return Merge::Older;
        }
        let outcome = match self.held.get(&one.key) {
            None if self.held.len() >= self.cap => Merge::Full,
            None => Merge::New,
            Some(held) if held == one => Merge::Known,
            Some(held) if held.issued > one.issued => Merge::Older,
            Some(held) if held.issued < one.issued => Merge::Newer,
            Some(_) => Merge::Conflict,
        };
        match outcome {
            Merge::New | Merge::Newer => drop(self.held.insert(one.key, one.clone())),
            Merge::Conflict => {
                self.held.remove(&one.key);
                if self.banned.len() < self.cap {
                    self.banned.insert(one.key);
                }
            }
            Merge::Known | Merge::Older | Merge::Full => (),
        }
        outcome
    }

    fn is(&self, members: &Members) {
        assert!(members.iter().eq(self.held.values()));
        assert_eq!(members.len(), self.held.len());
        assert!(members.len() <= self.cap && members.banned_count() == self.banned.len());
        assert!(self.banned.iter().all(|key| members.is_banned(key) && members.get(key).is_none()));
        assert!(self.held.values().all(|one| members.by_id(&one.id()) == Some(one)));
    }

    /// The closest, by looking at everybody.
    fn closest(&self, to: &Id, count: usize) -> Vec<VerifiedDescriptor> {
        let mut all: Vec<_> = self.held.values().collect();
        all.sort_by_key(|one| one.id().distance(to));
        let (mut used, mut closest) = (BTreeMap::new(), Vec::new());
        for one in all {
            let of_prefix = used.entry(one.address.narrow_prefix()).or_insert(0);
            *of_prefix += 1;
            if *of_prefix <= PREFIX_PER_BUCKET_MAX && closest.len() < count {
                closest.push(one.clone());
            }
        }
        closest
    }
}

fn draw(script: &mut Script<'_>) -> VerifiedDescriptor {
    pool()[script.below(RELAYS)][script.below(NUMBERS)][usize::from(script.byte() >= 0xc0)].clone()
}

/// Checks one input. With `fault`, as it would be where an older descriptor wins.
pub fn check(data: &[u8], fault: bool) {
    let (mut script, mut now) = (Script::new(data), ISSUED);
    let cap = 1 + script.below(RELAYS + 1);
    let (mut members, mut offered) = (Members::new(cap), Vec::new());
    let mut model = Model { cap, held: BTreeMap::new(), banned: BTreeSet::new() };
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        match op % 8 {
            0..=3 => {
                let one = draw(&mut script);
                offered.push(one.clone());
                if fault && members.get(&one.key).is_some_and(|held| held.issued > one.issued) {
                    members.forget(&one.id());
                }
                assert_eq!(members.merge(one.clone(), now), model.merge(&one, now));
            }
            4 => {
                let many: Vec<_> = (0..op >> 3).map(|_| draw(&mut script)).collect();
                offered.extend(many.clone());
                let expected: Vec<Merge> = many.iter().map(|one| model.merge(one, now)).collect();
                assert_eq!(members.merge_all(many, now), expected);
            }
            5 => {
                let one = draw(&mut script);
                members.forget(&one.id());
                model.held.remove(&one.key);
                offered.retain(|other: &VerifiedDescriptor| other.key != one.key);
            }
            6 => {
                now = UnixTime(now.0 + u64::from(op >> 3) * 3_000);
                let before = model.held.len();
                model.held.retain(|_, one| !is_over(one, now));
                assert_eq!(members.expire(now), model.held.len() < before);
            }
            _ => {
                let (to, count) = (Id([script.byte(); 20]), script.below(RELAYS));
                assert!(members.closest(&to, count, |_| false).into_iter().eq(model.closest(&to, count).iter()));
            }
        }
        model.is(&members);
        let one = draw(&mut script);
        let is_news = model.clone().merge(&one, ISSUED);
        let wanted = matches!(is_news, Merge::New | Merge::Newer)
            || (is_news == Merge::Conflict && !model.banned.contains(&one.key));
        assert_eq!(members.wants(&one.to_signed()), wanted);
    }
    order_does_not_matter(offered, &model, now);
}

/// What was offered, the other way round, where there was room for all and nobody signed two descriptors of one number.
fn order_does_not_matter(offered: Vec<VerifiedDescriptor>, model: &Model, now: UnixTime) {
    let numbers: BTreeSet<_> = offered.iter().map(|one| (one.key, one.issued)).collect();
    let contents: BTreeSet<_> = offered.iter().map(|one| *one.as_bytes()).collect();
    if model.cap < RELAYS || numbers.len() != contents.len() || !model.banned.is_empty() {
        return;
    }
    let (mut back, mut at_once) = (Members::new(model.cap), Members::new(model.cap));
    for one in offered.iter().rev() {
        back.merge(one.clone(), now);
    }
    at_once.merge_all(offered.into_iter().rev(), now);
    model.is(&back);
    model.is(&at_once);
}
