//! The checks that are always on: what no run of the protocol may ever show, whatever goes wrong. They look at cells, sights,
//! operations and tables from outside, and change nothing. Source: spec/simulation.md §11.

use std::collections::{BTreeMap, BTreeSet};

use super::NodeNo;
use super::pipe::{PipeNo, Pipes, Side};
use crate::crypto::keys::{DhKey, NodeKey};
use crate::keyspace::{Id, Location};
use crate::limits::{CREDIT_START, ID_LEN};
use crate::membership::prefix_rule::PrefixRule;
use crate::node::Sight;
use crate::time::Instant;
use crate::wire::address::Address;
use crate::wire::cell::{Cell, Command};
use crate::wire::contact::Contact;
use crate::wire::message::{Ask, Assembler};

/// Breaches whose words are kept; more are counted.
const BREACHES_MAX: usize = 50;

/// First bits of a place that are looked up before the place is: of thousands of places few windows of a cell share them.
const HEAD_BITS: u32 = 20;

/// Where the first bits of a place stand: which word, which of its bits.
fn head(place: &[u8]) -> (usize, u32) {
    let first = place.first_chunk::<4>().map_or(0, |first| u32::from_be_bytes(*first) >> (32 - HEAD_BITS));
    (usize::try_from(first >> 6).unwrap_or(usize::MAX), first & 63)
}

/// Something that must never be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// Which check.
    pub check: &'static str,
    /// What was seen.
    pub what: String,
}

/// How full a table is, and how full it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Of what.
    pub table: &'static str,
    /// Entries.
    pub len: usize,
    /// Cap.
    pub max: usize,
}

/// One circuit on one connection.
#[derive(Clone, Copy, Default)]
struct Flow {
    /// Cells sent, and granted by the other side, for each sending side.
    sent: [u32; 2],
    granted: [u32; 2],
    /// On a client's link: replies that came.
    replies: u32,
    forwards: u32,
}

/// What every path of a client must look like.
pub(super) struct PathLooks<'a> {
    /// So many relays.
    pub(super) hops: usize,
    /// Whether addresses keep them apart.
    pub(super) rule: PrefixRule,
    /// Where the guards of the client's sample are.
    pub(super) guards: &'a [Address],
    /// Of whom none is an exit.
    pub(super) bootstraps: &'a [Contact],
    /// Whether there are so many relays that no operation has to use an exit twice.
    pub(super) has_exits: bool,
}

/// The checks.
#[derive(Default)]
pub struct Checks {
    breaches: Vec<Breach>,
    more: u64,
    relay_keys: BTreeSet<DhKey>,
    /// Places that clients look up: their bytes are on no client's link.
    places: BTreeSet<Location>,
    /// Their first bits, a bit here for each.
    heads: Vec<u64>,
    flows: BTreeMap<(PipeNo, u32), Flow>,
    operations: BTreeMap<(NodeNo, u64), Instant>,
    /// The exits of operations under way.
    exits: BTreeSet<(NodeNo, u64, Id)>,
    /// Whether clients move chunks too, whose circuits have more cells.
    pub moves_chunks: bool,
    looked_at: u64,
}

impl Checks {
    /// What was found.
    #[must_use]
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// How many breaches there were beyond those.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more
    }

    /// How much was looked at: cells, sights, operations and tables.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// Notes something that must never be.
    pub fn breach(&mut self, check: &'static str, what: impl FnOnce() -> String) {
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(Breach { check, what: what() });
        } else {
            self.more += 1;
        }
    }

    /// A relay's link key: whoever has another one is a client.
    pub(super) fn relay_key(&mut self, key: DhKey) {
        self.relay_keys.insert(key);
    }

    /// A place that clients ask for.
    pub fn secret_place(&mut self, place: Location) {
        self.heads.resize(1 << (HEAD_BITS - 6), 0);
        let (word, bit) = head(&place.0);
        if let Some(bits) = self.heads.get_mut(word) {
            *bits |= 1 << bit;
        }
        self.places.insert(place);
    }

    /// An operation has begun and ends by then.
    pub fn begun(&mut self, client: NodeNo, id: u64, deadline: Instant) {
        self.operations.insert((client, id), deadline);
    }

    /// An operation has ended.
    pub fn ended(&mut self, client: NodeNo, id: u64, now: Instant) {
        self.looked_at += 1;
        self.forget_exits(client, id..=id);
        match self.operations.remove(&(client, id)) {
            Some(deadline) if now > deadline => {
                let late = deadline.until(now);
                self.breach("operations end in time", || format!("operation {id} of {client:?} ended {late:?} late"));
            }
            Some(_) => (),
            None => self.breach("operations end once", || format!("operation {id} of {client:?} ended twice")),
        }
    }

    /// A client is gone, and its operations with it.
    pub fn gone(&mut self, client: NodeNo) {
        self.operations.retain(|(node, _), _| *node != client);
        self.forget_exits(client, 0..=u64::MAX);
    }

    fn forget_exits(&mut self, client: NodeNo, operations: core::ops::RangeInclusive<u64>) {
        let (first, last) =
            ((client, *operations.start(), Id([0; ID_LEN])), (client, *operations.end(), Id([0xff; ID_LEN])));
        let gone: Vec<_> = self.exits.range(first..=last).copied().collect();
        gone.iter().for_each(|one| {
            self.exits.remove(one);
        });
    }

    /// Operations that should have ended.
    pub fn overdue(&mut self, now: Instant) {
        let late: Vec<_> = self.operations.iter().filter(|(_, deadline)| **deadline < now).map(|(of, _)| *of).collect();
        for of in late {
            self.operations.remove(&of);
            self.breach("operations end in time", || format!("operation {} of {:?} never ended", of.1, of.0));
        }
    }

    /// The hops of a circuit that a client builds. One relay at two places could see who asks and what.
    pub(super) fn path(&mut self, (client, operation): (NodeNo, u64), looks: &PathLooks<'_>, hops: &[Contact]) {
        self.looked_at += 1;
        let is_new = hops.last().is_none_or(|exit| self.exits.insert((client, operation, exit.id)));
        let is_apart = |(at, hop): (usize, &Contact)| {
            hops.iter().skip(at + 1).all(|other| {
                let keeps = looks.rule == PrefixRule::RelaxedForOneHost;
                hop.id != other.id && (keeps || hop.address.wide_prefix() != other.address.wide_prefix())
            })
        };
        let is_at = |hop: Option<&Contact>, places: &[Address]| hop.is_some_and(|hop| places.contains(&hop.address));
        let exit_is_bootstrap = hops.last().is_some_and(|exit| looks.bootstraps.iter().any(|one| one.id == exit.id));
        let wrong = [
            (hops.len() != looks.hops, "is not as long as asked"),
            (!hops.iter().enumerate().all(is_apart), "has one relay, or one wide prefix, twice"),
            (!is_at(hops.first(), looks.guards), "begins at none of the client's guards"),
            (is_at(hops.last(), looks.guards), "ends at a guard"),
            (exit_is_bootstrap, "ends at a bootstrap"),
            (looks.has_exits && !is_new, "ends at an exit that the operation had before: it could join two places"),
        ];
        for (_, how) in wrong.iter().filter(|(is_wrong, _)| *is_wrong) {
            self.breach("paths are as the client's rules say", || format!("one of {client:?} {how}"));
        }
    }

    /// Whether an operation has not had this exit yet.
    pub(super) fn is_new_exit(&self, client: NodeNo, operation: u64, exit: &Contact) -> bool {
        !self.exits.contains(&(client, operation, exit.id))
    }

    /// Tables and their caps.
    pub fn sizes(&mut self, of: NodeNo, sizes: &[Sizes]) {
        for size in sizes {
            self.looked_at += 1;
            if size.len > size.max {
                self.breach("tables stay under their caps", || {
                    format!("{} of {of:?}: {} of at most {}", size.table, size.len, size.max)
                });
            }
        }
    }

    /// Whom of the honest an honest relay has banned.
    pub(super) fn no_ban(&mut self, of: NodeNo, banned: Option<&NodeKey>) {
        self.looked_at += 1;
        if banned.is_some() {
            self.breach("no honest node bans an honest one", || format!("{of:?} has banned one"));
        }
    }

    /// What a node saw.
    pub(super) fn sight(&mut self, node: NodeNo, sight: &Sight) {
        self.looked_at += 1;
        let asker = match sight {
            Sight::Exited { from, .. } => Some(*from),
            Sight::Asked { from, relay: None, .. } => {
                let from = *from;
                return self
                    .breach("nobody sees asker and question", || format!("{node:?} was asked by a client, {from:?}"));
            }
            Sight::Asked { from, .. } => Some(*from),
            Sight::Link { .. } | Sight::Passed { .. } | Sight::Repairs { .. } => None,
        };
        if asker.is_some_and(|asker| !self.relay_keys.contains(&asker)) {
            self.breach("nobody sees asker and question", || format!("{node:?} has a question straight from a client"));
        }
    }

    /// A cell that a node puts on a link.
    pub(super) fn cell(&mut self, pipes: &Pipes, no: PipeNo, from: Side, cell: &Cell) {
        self.looked_at += 1;
        let Some(pipe) = pipes.get(no) else { return };
        if pipe.dialler_shows.is_none() {
            self.client_cell(no, from, cell);
        }
        let key = (no, cell.circuit().0);
        let (ours, theirs) = if from == Side::Dialler { (0, 1) } else { (1, 0) };
        match cell.command() {
            Command::Destroy => {
                self.flows.remove(&key);
            }
            Command::Forward | Command::Backward | Command::Reply0 => {
                let flow = self.flows.entry(key).or_default();
                let (sent, granted) = (flow.sent.get_mut(ours), flow.granted.get(ours));
                let over = sent.zip(granted).is_some_and(|(sent, granted)| {
                    *sent += 1;
                    *sent > CREDIT_START + *granted
                });
                if over {
                    self.breach("cells stay under their credits", || format!("circuit {} of {no:?}", key.1));
                }
            }
            Command::Credit => {
                let count = cell.credit_count().unwrap_or(0);
                if let Some(granted) = self.flows.entry(key).or_default().granted.get_mut(theirs) {
                    *granted += count;
                }
            }
            Command::Build | Command::Hello | Command::Padding | Command::Ask | Command::Answer => (),
        }
    }

    /// Cells between a client and its guard or a bootstrap.
    fn client_cell(&mut self, no: PipeNo, from: Side, cell: &Cell) {
        let is_from_client = from == Side::Dialler;
        let key = (no, cell.circuit().0);
        match cell.command() {
            Command::Ask if is_from_client => {
                let asked = Assembler::default().push(cell.body()).ok().flatten().map(|message| Ask::decode(&message));
                if !matches!(asked, Some(Ok(Ask::Members { .. }))) {
                    self.breach("clients ask relays nothing openly", || "a client asked something else".into());
                }
            }
            Command::Reply0 | Command::Backward if !is_from_client => {
                let flow = self.flows.entry(key).or_default();
                flow.replies += 1;
                if flow.replies > 2 && !self.moves_chunks {
                    self.breach("answers have two cells", || format!("circuit {} of {no:?} has more", key.1));
                }
            }
            Command::Forward if is_from_client => {
                self.flows.entry(key).or_default().forwards += 1;
                if !self.moves_chunks {
                    self.breach("a question has one cell", || format!("circuit {} of {no:?} has more", key.1));
                }
            }
            Command::Build | Command::Answer | Command::Destroy | Command::Credit => (),
            other => self.breach("clients ask relays nothing openly", || format!("{other:?} on a client's link")),
        }
        if self.shows_place(cell.body()) {
            self.breach("no place on a client's link", || {
                format!("{:?} shows what a client looks for", cell.command())
            });
        }
    }

    fn shows_place(&self, body: &[u8]) -> bool {
        if self.places.is_empty() {
            return false;
        }
        body.windows(ID_LEN).any(|window| {
            let (word, bit) = head(window);
            let may = self.heads.get(word).is_some_and(|bits| bits >> bit & 1 == 1);
            may && window.first_chunk::<ID_LEN>().is_some_and(|place| self.places.contains(&Id(*place)))
        })
    }

    /// A connection is no more.
    pub(super) fn pipe_gone(&mut self, no: PipeNo) {
        let gone: Vec<_> = self.flows.range((no, 0)..=(no, u32::MAX)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| {
            self.flows.remove(key);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::fixture::relay_at;

    fn hop(number: u8) -> Contact {
        Contact::from(&relay_at(u32::from(number), [10, number, 0, 1]))
    }

    #[test]
    fn a_path_that_breaks_any_rule_of_clients_is_a_breach() {
        let (guards, bootstraps) = ([hop(1).address, hop(2).address], [hop(9)]);
        let breaches = |hops: &[Contact]| {
            let mut checks = Checks::default();
            let looks = PathLooks {
                hops: 3,
                rule: PrefixRule::Distinct,
                guards: &guards,
                bootstraps: &bootstraps,
                has_exits: true,
            };
            checks.path((NodeNo(1), 0), &looks, hops);
            checks.breaches().iter().map(|breach| breach.what.clone()).collect::<Vec<_>>()
        };
        assert_eq!(breaches(&[hop(1), hop(4), hop(5)]), Vec::<String>::new());
        let next_door = Contact::from(&relay_at(6, [10, 4, 7, 1]));
        for (hops, what) in [
            (vec![hop(1), hop(4)], "as long as asked"),
            (vec![hop(1), hop(4), hop(5), hop(6)], "as long as asked"),
            (vec![hop(1), hop(4), hop(4)], "twice"),
            (vec![hop(1), hop(4), next_door], "twice"),
            (vec![hop(3), hop(4), hop(5)], "none of the client's guards"),
            (vec![hop(1), hop(4), hop(2)], "ends at a guard"),
            (vec![hop(1), hop(4), hop(9)], "ends at a bootstrap"),
        ] {
            let told = breaches(&hops);
            assert!(told.len() == 1 && told[0].contains(what), "{told:?} instead of {what}");
        }
    }
    #[test]
    fn an_operation_that_takes_an_exit_twice_is_a_breach_and_another_may_have_it() {
        let (guards, mut checks) = ([hop(1).address], Checks::default());
        let looks =
            PathLooks { hops: 3, rule: PrefixRule::Distinct, guards: &guards, bootstraps: &[], has_exits: true };
        let mut after = |operation, exit| {
            checks.path((NodeNo(1), operation), &looks, &[hop(1), hop(4), hop(exit)]);
            checks.breaches().len()
        };
        assert_eq!([after(1, 5), after(1, 6), after(2, 5), after(1, 5)], [0, 0, 0, 1]);
        checks.begun(NodeNo(1), 1, Instant::ZERO);
        checks.ended(NodeNo(1), 1, Instant::ZERO);
        assert_eq!(checks.exits.len(), 1);
        checks.gone(NodeNo(1));
        assert!(checks.exits.is_empty());
    }
}
