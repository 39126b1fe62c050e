//! What a client makes of the statements that exits bring: compared with the members that it knows itself.
//! Signatures prove who said it; the client's own view decides who had to. Source: spec/evidence.md §3.

use std::collections::{BTreeMap, BTreeSet};

use super::lookup::Claim;
use super::neighbourhood::Neighbourhood;
use crate::crypto::keys::NodeKey;
use crate::keyspace::Location;
use crate::limits::{ANSWER_DESCRIPTORS_MAX, NEIGHBOURS_KNOWN, SIGNERS, SIGNERS_LEFT_MIN, SIGNERS_PERCENT_MIN};
use crate::membership::members::Members;
use crate::time::UnixTime;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::network::Network;
use crate::wire::statement::{Operation, Question, Statement, Verdict};

/// Exits through which a member must have been silent to leave the count.
const SILENT_EXITS: u32 = 2;

/// What came of the statements of one answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Added {
    /// Valid, of an awaited signer.
    pub valid: usize,
    /// Forged, for another question, of a stranger, twice, or too many.
    pub refused: usize,
}

/// How many of those that had to sign did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attestation {
    /// Members of the closest set that signed what they have.
    pub signed: usize,
    /// Members of the closest set: [`SIGNERS`], or fewer where fewer are known.
    pub asked: usize,
    /// Whether enough of them signed and enough of the first ones are left.
    pub attested: bool,
    /// Members of the closest set that have not signed: to be asked through another exit.
    pub missing: Vec<NodeKey>,
    /// Members of the first closest set that have not left the count.
    pub left: usize,
    /// Whether so few of them are left that a miss is "unreachable" and a hit is unattested, whatever else comes.
    pub too_few_left: bool,
}

/// The evidence on one location, over all answers of one operation.
///
/// Each answer is of another exit: that is the caller's part.
#[derive(Debug)]
pub struct Tally {
    neighbourhood: Neighbourhood,
    first: Vec<NodeKey>,
    heard: BTreeMap<NodeKey, Option<Claim>>,
    silences: BTreeMap<NodeKey, u32>,
    not_backed: BTreeSet<NodeKey>,
}

impl Tally {
    /// Begins with the members that the client knows before it asks.
    #[must_use]
    pub fn new(location: Location, members: &Members) -> Self {
        let first = members.closest(&location, SIGNERS, |_| false).into_iter().map(|member| member.key).collect();
        let neighbourhood = Neighbourhood::new(location, members, ANSWER_DESCRIPTORS_MAX);
        Self { neighbourhood, first, heard: BTreeMap::new(), silences: BTreeMap::new(), not_backed: BTreeSet::new() }
    }

    /// Takes the answer of one exit to one question; the descriptors that came with it were merged before. Whoever of the
    /// closest set was never heard has now been silent through one exit more.
    pub fn add(
        &mut self,
        network: &Network,
        question: &Question,
        statements: &[Statement],
        members: &Members,
        now: UnixTime,
    ) -> Added {
        let awaited = (members, NEIGHBOURS_KNOWN);
        let mut valid = 0;
        for statement in self.neighbourhood.believed(network, question, statements, awaited, now) {
            if let Some(claim) = finding(question, statement) {
                let said = self.heard.entry(statement.signer).or_default();
                *said = claim.max(*said);
                valid += 1;
            }
        }
        for silent in self.missing(members) {
            *self.silences.entry(silent).or_default() += 1;
        }
        Added { valid, refused: statements.len() - valid }
    }

    /// Claims newer than the best value delivered, after a second exit did not deliver it either: their signers leave the
    /// count. One storer that lies cannot keep a location undecided; several cannot be told from a withheld value, and
    /// then too few are left.
    pub fn on_not_backed(&mut self, best: Option<Claim>) {
        let newer = self.heard.iter().filter(|(_, said)| **said > best).map(|(key, _)| *key);
        self.not_backed.extend(newer);
    }

    /// Members that were silent through a second exit too.
    #[must_use]
    pub fn silent_after_second_exit(&self) -> Vec<NodeKey> {
        self.silences.keys().filter(|key| self.was_silent(key)).copied().collect()
    }

    /// The count as it stands.
    #[must_use]
    pub fn attestation(&self, members: &Members) -> Attestation {
        let closest = self.closest(members);
        let missing: Vec<NodeKey> =
            closest.iter().map(|member| member.key).filter(|key| !self.heard.contains_key(key)).collect();
        let (asked, signed) = (closest.len(), closest.len() - missing.len());
        let left = self.first.iter().filter(|key| !self.is_gone(key)).count();
        let too_few_left = self.first.is_empty() || left < share(self.first.len(), SIGNERS_LEFT_MIN, SIGNERS);
        let attested = asked > 0 && !too_few_left && signed >= share(asked, SIGNERS_PERCENT_MIN, 100);
        Attestation { signed, asked, attested, missing, left, too_few_left }
    }

    /// Members of the closest set that have not signed yet, nearest first.
    #[must_use]
    pub fn missing(&self, members: &Members) -> Vec<NodeKey> {
        self.attestation(members).missing
    }

    /// Whether enough of the closest signed, and none of them has a value: "not found" rests on this alone.
    #[must_use]
    pub fn attested_absence(&self, members: &Members) -> bool {
        self.newest_claimed().is_none() && self.attestation(members).attested
    }

    /// Whether enough of the closest signed, and none of them has a newer value than this one.
    #[must_use]
    pub fn attested_freshness(&self, best: Claim, members: &Members) -> bool {
        self.newest_claimed() <= Some(best) && self.attestation(members).attested
    }

    /// The newest value that a member has by its own word. Newer than the one delivered: the exit withheld it.
    #[must_use]
    pub fn newest_claimed(&self) -> Option<Claim> {
        let believed = self.heard.iter().filter(|(key, _)| !self.not_backed.contains(key));
        believed.filter_map(|(_, said)| *said).max()
    }

    /// What those of the closest set that have a value say it is.
    #[must_use]
    pub fn claims(&self, members: &Members) -> Vec<Claim> {
        self.closest(members).into_iter().filter_map(|member| *self.heard.get(&member.key)?).collect()
    }

    fn closest<'m>(&self, members: &'m Members) -> Vec<&'m VerifiedDescriptor> {
        self.neighbourhood.closest(members, SIGNERS, |key| self.is_gone(key))
    }

    fn is_gone(&self, key: &NodeKey) -> bool {
        self.not_backed.contains(key) || self.was_silent(key)
    }

    fn was_silent(&self, key: &NodeKey) -> bool {
        let silences = self.silences.get(key).copied().unwrap_or_default();
        silences >= SILENT_EXITS && !self.heard.contains_key(key)
    }
}

/// What a statement says in answer to a find: `Some(None)` for nothing there; `None` for no answer at all.
fn finding(question: &Question, statement: &Statement) -> Option<Option<Claim>> {
    match (question.operation, statement.verdict) {
        (Operation::Find, Verdict::Absent) => Some(None),
        (Operation::Find, Verdict::Present) => Some(Some((statement.seq, statement.digest))),
        _ => None,
    }
}

/// `part` of `whole` of a number, rounded up.
fn share(number: usize, part: usize, whole: usize) -> usize {
    (number * part).div_ceil(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::membership::fixture::{ISSUED, key, members_of, network, relay, relay_at, secret};
    use crate::wire::statement::{Nonce, Saying};

    const LOCATION: Location = Id([0x55; 20]);
    const ABSENT: (Verdict, Claim) = (Verdict::Absent, (0, [0; 32]));

    /// A statement, given the numbers of relays, nearest first.
    type Extra = fn(&[u32]) -> Statement;

    /// Numbers of relays, nearest first, out of so many.
    fn nearest_of(relays: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..relays).collect();
        numbers.sort_by_key(|number| relay(*number).id().distance(&LOCATION));
        numbers
    }

    fn question(nonce: u8) -> Question {
        Question { nonce: Nonce([nonce; 16]), operation: Operation::Find, location: LOCATION }
    }

    fn said(number: u32, nonce: u8, (verdict, (seq, digest)): (Verdict, Claim)) -> Statement {
        let saying = Saying { verdict, seq, digest, relays_estimate: 30 };
        Statement::sign(&network(), &secret(number), &question(nonce), &saying, ISSUED)
    }

    fn present(seq: u64) -> (Verdict, Claim) {
        (Verdict::Present, (seq, [1; 32]))
    }

    fn absent(numbers: &[u32], nonce: u8) -> Vec<Statement> {
        numbers.iter().map(|number| said(*number, nonce, ABSENT)).collect()
    }

    fn add(tally: &mut Tally, members: &Members, nonce: u8, statements: &[Statement]) -> Added {
        tally.add(&network(), &question(nonce), statements, members, ISSUED)
    }

    /// One answer: how many count, and whether absence is attested by it.
    fn check(name: &str, statements: impl FnOnce(&[u32]) -> Vec<Statement>, signed: usize, attested: bool) {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        let mut tally = Tally::new(LOCATION, &members);
        let statements = statements(&near);
        let added = add(&mut tally, &members, 1, &statements);
        let attestation = tally.attestation(&members);
        assert_eq!((attestation.signed, attestation.asked, attestation.left), (signed, SIGNERS, SIGNERS), "{name}");
        assert_eq!(added.valid + added.refused, statements.len(), "{name}");
        assert_eq!(attestation.missing.len(), SIGNERS - signed, "{name}");
        assert_eq!(tally.attested_absence(&members), attested, "{name}");
    }

    // [EVID-R-010] [EVID-R-012]
    #[test]
    fn absence_needs_six_of_the_eight_closest_members_known() {
        check("all sign", |near| absent(&near[..8], 1), 8, true);
        check("six of eight", |near| absent(&near[2..8], 1), 6, true);
        check("five of eight", |near| absent(&near[..5], 1), 5, false);
        check("none", |_| Vec::new(), 0, false);
        check("members farther than the eighth", |near| absent(&near[3..16], 1), 5, false);
        check(
            "one of them has it",
            |near| [absent(&near[..7], 1), vec![said(near[7], 1, present(5))]].concat(),
            8,
            false,
        );
    }

    // [EVID-R-003] [EVID-R-005] [EVID-R-006]
    #[test]
    fn what_is_no_word_of_a_closest_member_on_this_question_does_not_count() {
        let six_with =
            |extra: fn(&[u32]) -> Statement| move |near: &[u32]| [absent(&near[..5], 1), vec![extra(near)]].concat();
        let rows: [(&str, Extra); 6] = [
            ("another nonce", |near| said(near[5], 2, ABSENT)),
            ("a signer for the second time", |near| said(near[0], 1, ABSENT)),
            ("a signer nobody knows", |_| said(999, 1, ABSENT)),
            ("a verdict that answers no find", |near| said(near[5], 1, (Verdict::NotCloseEnough, (0, [0; 32])))),
            ("a forged signature", |near| {
                let mut forged = said(near[5], 1, ABSENT);
                forged.signature.0[0] ^= 1;
                forged
            }),
            ("a word put into another's mouth", |near| Statement { signer: key(near[5]), ..said(near[0], 1, ABSENT) }),
        ];
        for (name, extra) in rows {
            check(name, six_with(extra), 5, false);
        }
        check("the row that would do", six_with(|near| said(near[5], 1, ABSENT)), 6, true);
    }

    // [EVID-R-005]
    #[test]
    fn statements_beyond_the_cap_are_not_looked_at() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        let mut tally = Tally::new(LOCATION, &members);
        let stuffing = core::iter::repeat_n(said(999, 1, ABSENT), crate::limits::STATEMENTS_MAX);
        let statements: Vec<_> = stuffing.chain(absent(&near[..8], 1)).collect();
        assert_eq!(add(&mut tally, &members, 1, &statements).valid, 0);
    }

    // [EVID-R-003]
    #[test]
    fn a_question_about_another_place_or_a_store_is_no_evidence_here() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        let saying = Saying { verdict: Verdict::Absent, seq: 0, digest: [0; 32], relays_estimate: 1 };
        for other in [
            Question { location: Id([0x56; 20]), ..question(1) },
            Question { operation: Operation::Store, ..question(1) },
        ] {
            let sign = |number: &u32| Statement::sign(&network(), &secret(*number), &other, &saying, ISSUED);
            let statements: Vec<_> = near[..8].iter().map(sign).collect();
            let mut tally = Tally::new(LOCATION, &members);
            assert_eq!(tally.add(&network(), &other, &statements, &members, ISSUED), Added { valid: 0, refused: 8 });
        }
    }

    #[test]
    fn another_exit_brings_the_missing_and_each_answer_holds_for_its_own_nonce() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        let mut tally = Tally::new(LOCATION, &members);
        add(&mut tally, &members, 1, &absent(&near[..4], 1));
        assert_eq!(tally.missing(&members), near[4..8].iter().map(|n| key(*n)).collect::<Vec<_>>());
        assert_eq!(add(&mut tally, &members, 2, &absent(&near[4..8], 1)).valid, 0, "replayed");
        assert!(!tally.attested_absence(&members));
        let mut tally = Tally::new(LOCATION, &members);
        add(&mut tally, &members, 1, &absent(&near[..4], 1));
        add(&mut tally, &members, 2, &absent(&near[4..6], 2));
        assert!(tally.attested_absence(&members));
    }

    // [EVID-R-009]
    #[test]
    fn the_dead_leave_after_a_second_exit_and_the_next_closest_step_in() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        // The first three are dead; honest exits bring the eight closest of those that live.
        let mut tally = Tally::new(LOCATION, &members);
        add(&mut tally, &members, 1, &absent(&near[3..11], 1));
        let once = tally.attestation(&members);
        assert_eq!((once.signed, once.attested, once.left), (5, false, 8));
        add(&mut tally, &members, 2, &absent(&near[3..11], 2));
        let twice = tally.attestation(&members);
        assert_eq!((twice.signed, twice.attested, twice.left), (8, true, 5));
        assert_eq!(tally.silent_after_second_exit().len(), 3);
    }

    // [EVID-R-009]
    #[test]
    fn hiding_members_through_two_exits_does_not_shrink_the_set_and_a_late_word_brings_them_back() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        let mut tally = Tally::new(LOCATION, &members);
        for nonce in 1..=2 {
            add(&mut tally, &members, nonce, &absent(&near[..5], nonce));
        }
        let attestation = tally.attestation(&members);
        assert_eq!((attestation.signed, attestation.asked, attestation.attested), (5, 8, false));
        add(&mut tally, &members, 3, &absent(&near[..8], 3));
        let attestation = tally.attestation(&members);
        assert_eq!((attestation.signed, attestation.left, attestation.attested), (8, 8, true));
    }

    // [EVID-R-010]
    #[test]
    fn fewer_than_four_left_of_the_first_eight_attest_nothing() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        for (dead, attested) in [(4, true), (5, false)] {
            let mut tally = Tally::new(LOCATION, &members);
            for nonce in 1..=2 {
                add(&mut tally, &members, nonce, &absent(&near[dead..dead + 8], nonce));
            }
            let attestation = tally.attestation(&members);
            assert_eq!((attestation.signed, attestation.left), (8, 8 - dead));
            assert_eq!((attestation.attested, attestation.too_few_left), (attested, !attested));
            assert_eq!(tally.attested_freshness((9, [9; 32]), &members), attested);
        }
    }

    // [EVID-R-008]
    #[test]
    fn in_a_small_network_the_closest_set_is_what_there_is() {
        for (known, needed) in [(1, 1), (2, 2), (3, 3), (5, 4), (7, 5)] {
            let members = members_of((0..known).map(relay));
            let near = nearest_of(known);
            for signers in [needed - 1, needed] {
                let mut tally = Tally::new(LOCATION, &members);
                add(&mut tally, &members, 1, &absent(&near[..signers], 1));
                assert_eq!(tally.attested_absence(&members), signers == needed, "{signers} of {known}");
            }
        }
        assert!(!Tally::new(LOCATION, &members_of([])).attestation(&members_of([])).attested);
    }

    // [EVID-R-013]
    #[test]
    fn an_exit_that_withholds_the_newer_value_is_caught_by_the_word_of_one_holder() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        let mut tally = Tally::new(LOCATION, &members);
        let old = near[..7].iter().map(|number| said(*number, 1, present(5)));
        let statements: Vec<_> = old.chain([said(near[7], 1, present(6))]).collect();
        add(&mut tally, &members, 1, &statements);
        assert_eq!(tally.newest_claimed(), Some((6, [1; 32])));
        assert!(!tally.attested_freshness((5, [1; 32]), &members));
        assert!(tally.attested_freshness((6, [1; 32]), &members));
    }

    // [EVID-R-009]
    #[test]
    fn one_storer_that_claims_what_nobody_delivers_leaves_the_count_and_many_leave_too_few() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        for (liars, attested) in [(1, true), (2, true), (5, false)] {
            let mut tally = Tally::new(LOCATION, &members);
            for nonce in 1..=2 {
                let claims = near[..liars].iter().map(|number| said(*number, nonce, present(u64::MAX)));
                let statements: Vec<_> = claims.chain(absent(&near[liars..13], nonce)).collect();
                add(&mut tally, &members, nonce, &statements);
            }
            assert!(!tally.attested_absence(&members));
            tally.on_not_backed(None);
            assert_eq!(tally.newest_claimed(), None);
            assert_eq!(tally.attested_absence(&members), attested, "{liars}");
        }
    }

    // [EVID-R-015]
    #[test]
    fn a_signer_that_said_both_is_taken_at_the_word_that_it_has_the_value() {
        let (members, near) = (members_of((0..30).map(relay)), nearest_of(30));
        for words in [[ABSENT, present(5)], [present(5), ABSENT]] {
            let mut tally = Tally::new(LOCATION, &members);
            for (nonce, word) in (1..).zip(words) {
                add(&mut tally, &members, nonce, &[said(near[0], nonce, word)]);
            }
            assert_eq!(tally.newest_claimed(), Some((5, [1; 32])));
        }
    }

    // [EVID-R-004] [EVID-R-008]
    #[test]
    fn newer_members_count_once_their_descriptors_are_merged() {
        // The client does not know three of the true eight closest.
        let near = nearest_of(30);
        let mut members = members_of(near[3..].iter().map(|number| relay(*number)));
        let mut tally = Tally::new(LOCATION, &members);
        add(&mut tally, &members, 1, &absent(&near[..8], 1));
        assert_eq!(tally.attestation(&members).signed, 5);
        for number in &near[..3] {
            members.merge(relay(*number), ISSUED);
        }
        add(&mut tally, &members, 2, &absent(&near[..8], 2));
        assert!(tally.attested_absence(&members));
    }

    // [EVID-R-004] [EVID-R-007]
    #[test]
    fn relays_that_exits_introduce_never_make_an_absence_alone() {
        let near = nearest_of(60);
        let mut members = members_of(near[20..].iter().map(|number| relay(*number)));
        let mut tally = Tally::new(LOCATION, &members);
        for number in &near[..20] {
            members.merge(relay(*number), ISSUED);
        }
        for nonce in 1..=9 {
            add(&mut tally, &members, nonce, &absent(&near[..16], nonce));
        }
        let attestation = tally.attestation(&members);
        assert_eq!((attestation.signed, attestation.attested), (ANSWER_DESCRIPTORS_MAX, false));
    }

    // [EVID-R-008]
    #[test]
    fn of_one_narrow_prefix_two_signers_count() {
        let crowd = (100..140).map(|number| relay_at(number, [99, 0, 0, 1]));
        let members = members_of((0..30).map(relay).chain(crowd));
        let mut tally = Tally::new(LOCATION, &members);
        let statements: Vec<_> = (100..140).map(|number| said(number, 1, ABSENT)).collect();
        let valid: usize = statements.chunks(16).map(|some| add(&mut tally, &members, 1, some).valid).sum();
        assert_eq!(valid, 2);
    }
}
