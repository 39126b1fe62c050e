//! A lookup among liars: whatever is answered, by whom and when, it ends by its deadline, asks no more than its questions and nobody twice, never
//! itself and nobody it was not told of, and gives out only who answered and what they said.

use std::collections::{BTreeMap, BTreeSet};

use bauta::crypto::keys::DhKey;
use bauta::dht::lookup::{Breadth, Claim, Lookup, LookupInput, LookupOutput};
use bauta::keyspace::Id;
use bauta::limits::{ALPHA, ASK_TIMEOUT, BUCKET_SIZE, EXIT_TIMEOUT, LOOKUP_ASKS_MAX, SIGNERS};
use bauta::membership::prefix_rule::PrefixRule;
use bauta::time::{Duration, Instant};
use bauta::wire::address::Address;
use bauta::wire::contact::Contact;
use bauta::wire::record::ValueKind;

use super::script::Script;

const STEPS_MAX: usize = 512;
/// More than inputs that anything could need to end.
const ENDING_MAX: usize = 256;

fn contact(script: &mut Script<'_>) -> Contact {
    let (place, below, net) = (script.byte(), script.byte(), script.byte());
    let mut id = [place; 20];
    id[19] = below;
    // Two words on one id differ in the key.
    Contact { id: Id(id), link_key: DhKey([net; 32]), address: Address(([10, net / 8, net, 1], 1).into()) }
}

struct Seen {
    lookup: Lookup,
    own: Id,
    deadline: Instant,
    breadth: Breadth,
    /// The first word on each id, from the start or from somebody who was asked.
    told: BTreeMap<Id, Contact>,
    asked: BTreeMap<Id, Instant>,
    open: BTreeSet<Id>,
    answered: BTreeMap<Id, Option<Claim>>,
    done: bool,
}

impl Seen {
    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.lookup.poll_output() {
            assert!(!self.done, "nothing after the end");
            match output {
                LookupOutput::Ask(whom) => {
                    assert_eq!(self.told.get(&whom.id), Some(&whom));
                    assert!(whom.id != self.own && self.asked.insert(whom.id, now).is_none());
                    self.open.insert(whom.id);
                }
                LookupOutput::Done => self.done = true,
            }
        }
        assert!(self.asked.len() <= LOOKUP_ASKS_MAX && self.open.len() <= self.breadth.at_once);
        assert!(self.done == self.lookup.is_done() && self.done == self.lookup.poll_timeout().is_none());
        assert!(self.done || (now < self.deadline && !self.open.is_empty()));
        let closest = self.lookup.closest_answered(SIGNERS);
        assert!(closest.iter().all(|one| self.answered.contains_key(&one.id)));
        let location = self.lookup.location();
        assert!(closest.is_sorted_by_key(|one| one.id.distance(&location)));
        let newest = self.answered.values().flatten().max();
        assert_eq!(self.lookup.newest_present().map(|(_, claim)| claim).as_ref(), newest);
    }

    /// Questions that are overdue are over before any input counts.
    fn handle(&mut self, now: Instant, input: LookupInput) {
        self.open.retain(|id| now < self.asked[id] + ASK_TIMEOUT);
        match &input {
            LookupInput::Answered { from, contacts, says_present } if !self.done && self.open.remove(from) => {
                self.answered.insert(*from, *says_present);
                for one in contacts.iter().take(BUCKET_SIZE) {
                    self.told.entry(one.id).or_insert(*one);
                }
            }
            LookupInput::Failed { from } => drop(self.open.remove(from)),
            LookupInput::Answered { .. } | LookupInput::Timeout => (),
        }
        self.lookup.handle(now, input);
        if self.lookup.is_done() {
            self.open.clear();
        }
        self.drain(now);
    }
}

fn start(script: &mut Script<'_>) -> Seen {
    let setup = script.byte();
    let breadth = if setup & 1 == 0 { Breadth { at_once: ALPHA, closest: SIGNERS } } else { Breadth::SIGNERS };
    let rule = if setup & 2 == 0 { PrefixRule::Distinct } else { PrefixRule::RelaxedForOneHost };
    let (location, own) = (Id([script.byte(); 20]), Id([script.byte(); 20]));
    let start: Vec<Contact> = (0..script.byte() % 32).map(|_| contact(script)).collect();
    let mut told = BTreeMap::new();
    let mut sorted = start.clone();
    sorted.sort_by_key(|one| one.id.distance(&location));
    for one in sorted {
        told.entry(one.id).or_insert(one);
    }
    let (now, deadline) = (Instant::ZERO, Instant::ZERO + EXIT_TIMEOUT);
    let lookup = Lookup::new(location, ValueKind::Signed, Some(own), start, rule, breadth, (now, deadline));
    let (asked, open, answered) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    Seen { lookup, own, deadline, breadth, told, asked, open, answered, done: false }
}

/// Checks one input. With `fault`, as it would be where a node that was not asked is listened to, in the name of one that was.
pub fn check(data: &[u8], fault: bool) {
    let (mut script, mut now) = (Script::new(data), Instant::ZERO);
    let mut seen = start(&mut script);
    seen.drain(now);
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        let open: Vec<Id> = seen.open.iter().copied().collect();
        let from = if op & 0x80 == 0 && !open.is_empty() { script.pick(&open) } else { contact(&mut script).id };
        match op % 8 {
            0 => seen.handle(now, LookupInput::Failed { from }),
            1 => {
                now = now + Duration::from_millis(20) * u32::from(script.byte());
                seen.handle(now, LookupInput::Timeout);
            }
            _ => {
                let contacts: Vec<Contact> = (0..op >> 3 & 15).map(|_| contact(&mut script)).collect();
                let says_present = (op & 4 != 0).then(|| (u64::from(script.byte()), [script.byte(); 32]));
                if fault && !seen.open.contains(&from) && !open.is_empty() {
                    let input = LookupInput::Answered { from: open[0], contacts: contacts.clone(), says_present };
                    seen.lookup.handle(now, input);
                }
                seen.handle(now, LookupInput::Answered { from, contacts, says_present });
            }
        }
    }
    // Nobody says anything any more.
    for _ in 0..ENDING_MAX {
        let Some(at) = seen.lookup.poll_timeout() else { return };
        assert!(at <= seen.deadline);
        now = now.max(at);
        seen.handle(now, LookupInput::Timeout);
    }
    panic!("it does not end");
}
