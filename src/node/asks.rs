//! Questions under way between this node and others, both ways: numbers, joined cells, deadlines. Source: spec/messages.md §1.

use std::collections::{BTreeMap, BTreeSet};

use super::deadlines::Deadlines;
use super::io::LinkId;
use super::sizes::TableSize;
use crate::keyspace::Id;
use crate::limits::{
    ASK_TIMEOUT, ASKS_PER_LINK_MAX, BODY_LEN, PARTIAL_ASK_TIMEOUT, PARTIAL_ASKS_BYTES_MAX,
    PARTIAL_ASKS_PER_LINK_BYTES_MAX,
};
use crate::time::{Duration, Instant};
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::message::{Answer, Ask, Assembler, cells_of};

/// A question of ours, for whoever asked it to be told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct AskId(pub(super) u64);

struct Waiting {
    ask: AskId,
    message: Vec<u8>,
}

struct Outgoing {
    ask: AskId,
    assembler: Assembler,
}

/// A question of somebody else's that has not come whole.
struct Incoming {
    assembler: Assembler,
    cells: usize,
    deadline: Instant,
}

/// All of them.
#[derive(Default)]
pub(super) struct Asks {
    /// Where each cell of an answer gives it so long again.
    patience: Option<Duration>,
    waiting: BTreeMap<LinkId, Vec<Waiting>>,
    outgoing: BTreeMap<(LinkId, CircuitId), Outgoing>,
    incoming: BTreeMap<(LinkId, CircuitId), Incoming>,
    incoming_cells: usize,
    incoming_by_link: BTreeMap<LinkId, usize>,
    /// Invariant: every question in `outgoing` has one.
    deadlines: Deadlines<AskId>,
    /// Where a question is that is in `outgoing`.
    started: BTreeMap<AskId, (LinkId, CircuitId)>,
}

/// What a cell of an answer came to.
pub(super) enum Heard {
    /// More cells are to come, or nobody waits for it.
    Nothing,
    /// The whole answer.
    Answer(AskId, Box<Answer>),
    /// The peer sent something that is no answer.
    Broken(AskId),
}

impl Asks {
    /// Questions that wait so long for each cell of their answers, where others have [`ASK_TIMEOUT`] for the whole of it: long answers,
    /// over slow links. Their caller sets an end.
    pub(super) fn patient(patience: Duration) -> Self {
        Self { patience: Some(patience), ..Self::default() }
    }

    pub(super) fn sizes(&self) -> [TableSize; 7] {
        let on_link = |link: &LinkId| (*link, CircuitId(0))..=(*link, CircuitId(u32::MAX));
        let links: BTreeSet<LinkId> = self.outgoing.keys().map(|(link, _)| *link).collect();
        let most = links.iter().map(|link| self.outgoing.range(on_link(link)).count()).max().unwrap_or(0);
        let waiting: usize = self.waiting.values().map(Vec::len).sum();
        let partial = self.incoming_by_link.values().max().copied().unwrap_or(0);
        [
            ("questions for a link", self.waiting.values().map(Vec::len).max().unwrap_or(0), ASKS_PER_LINK_MAX),
            ("questions on a link", most, ASKS_PER_LINK_MAX),
            ("questions by number", self.started.len(), self.outgoing.len()),
            ("deadlines of questions", self.deadlines.len(), self.outgoing.len() + waiting),
            ("bytes of partial questions", self.incoming_cells * BODY_LEN, PARTIAL_ASKS_BYTES_MAX),
            ("bytes of them on a link", partial * BODY_LEN, PARTIAL_ASKS_PER_LINK_BYTES_MAX),
            ("partial questions", self.incoming.len(), self.incoming_cells),
        ]
    }

    /// Questions that wait for a link or an answer.
    pub(super) fn open(&self) -> usize {
        self.outgoing.len() + self.waiting.values().map(Vec::len).sum::<usize>()
    }

    /// Keeps a question until its link is up; false when too many wait for it already.
    pub(super) fn wait(&mut self, now: Instant, link: LinkId, ask: AskId, question: &Ask) -> bool {
        let waiting = self.waiting.entry(link).or_default();
        let has_room = waiting.len() < ASKS_PER_LINK_MAX;
        if has_room {
            self.deadlines.set(ask, Some(now + ASK_TIMEOUT));
            waiting.push(Waiting { ask, message: question.encode() });
        }
        has_room
    }

    /// Questions that waited for this link.
    pub(super) fn on_up(&mut self, link: LinkId) -> Vec<(AskId, Vec<u8>)> {
        let waited = self.waiting.remove(&link).unwrap_or_default();
        waited
            .into_iter()
            .filter(|one| self.deadlines.at(&one.ask).is_some())
            .map(|one| (one.ask, one.message))
            .collect()
    }

    /// Puts a question on a link: its cells.
    pub(super) fn start(
        &mut self,
        now: Instant,
        link: LinkId,
        circuit: CircuitId,
        ask: AskId,
        message: &[u8],
    ) -> Option<Vec<Cell>> {
        let open = self.outgoing.range((link, CircuitId(0))..=(link, CircuitId(u32::MAX))).count();
        if open >= ASKS_PER_LINK_MAX {
            return None;
        }
        let cells = cells_of(circuit, Command::Ask, message)?;
        let patient = self.patience.map(|patience| now + patience);
        let deadline = patient.or_else(|| self.deadlines.at(&ask)).unwrap_or(now + ASK_TIMEOUT);
        self.deadlines.set(ask, Some(deadline));
        self.outgoing.insert((link, circuit), Outgoing { ask, assembler: Assembler::default() });
        self.started.insert(ask, (link, circuit));
        Some(cells)
    }

    /// A cell of an answer.
    pub(super) fn on_answer(&mut self, now: Instant, link: LinkId, cell: &Cell) -> Heard {
        let key = (link, cell.circuit());
        let Some(outgoing) = self.outgoing.get_mut(&key) else { return Heard::Nothing };
        let ask = outgoing.ask;
        let joined = match outgoing.assembler.push(cell.body()) {
            Ok(None) => {
                if let Some(patience) = self.patience {
                    self.deadlines.set(ask, Some(now + patience));
                }
                return Heard::Nothing;
            }
            Ok(Some(message)) => Answer::decode(&message).ok(),
            Err(_) => None,
        };
        self.outgoing.remove(&key);
        self.started.remove(&ask);
        self.deadlines.remove(&ask);
        joined.map_or(Heard::Broken(ask), |answer| Heard::Answer(ask, Box::new(answer)))
    }

    /// A cell of a question: `Ok(Some)` once it is whole. A client's questions are one cell long.
    ///
    /// # Errors
    /// The link that must go: its peer broke the protocol, or holds most of what may not grow further.
    pub(super) fn on_ask(
        &mut self,
        now: Instant,
        link: LinkId,
        cell: &Cell,
        from_client: bool,
    ) -> Result<Option<Ask>, LinkId> {
        let key = (link, cell.circuit());
        let mut incoming = match self.take_incoming(&key) {
            Some(incoming) => incoming,
            None if self.open_on(link) >= ASKS_PER_LINK_MAX => return Err(link),
            None => Incoming { assembler: Assembler::default(), cells: 0, deadline: now + PARTIAL_ASK_TIMEOUT },
        };
        if let Some(message) = incoming.assembler.push(cell.body()).map_err(|_| link)? {
            return Ask::decode(&message).map(Some).map_err(|_| link);
        }
        incoming.cells += 1;
        let share = self.incoming_by_link.entry(link).or_default();
        *share += incoming.cells;
        self.incoming_cells += incoming.cells;
        let is_over = from_client || *share * BODY_LEN > PARTIAL_ASKS_PER_LINK_BYTES_MAX;
        self.incoming.insert(key, incoming);
        if is_over {
            return Err(link);
        }
        if self.incoming_cells * BODY_LEN > PARTIAL_ASKS_BYTES_MAX {
            // Not the one that happens to come last: the one that holds most.
            let most = self.incoming_by_link.iter().max_by_key(|(_, cells)| **cells);
            return Err(most.map_or(link, |(link, _)| *link));
        }
        Ok(None)
    }

    fn take_incoming(&mut self, key: &(LinkId, CircuitId)) -> Option<Incoming> {
        let incoming = self.incoming.remove(key)?;
        self.incoming_cells -= incoming.cells;
        if let Some(share) = self.incoming_by_link.get_mut(&key.0) {
            *share -= incoming.cells;
            if *share == 0 {
                self.incoming_by_link.remove(&key.0);
            }
        }
        Some(incoming)
    }

    fn open_on(&self, link: LinkId) -> usize {
        self.incoming.range((link, CircuitId(0))..=(link, CircuitId(u32::MAX))).count()
    }

    /// Links whose peer has left a question unfinished for too long.
    pub(super) fn unfinished(&self, now: Instant) -> Vec<LinkId> {
        self.incoming.iter().filter(|(_, one)| one.deadline <= now).map(|((link, _), _)| *link).collect()
    }

    pub(super) fn knows_incoming(&self, link: LinkId, circuit: CircuitId) -> bool {
        self.incoming.contains_key(&(link, circuit))
    }

    /// A link, or the attempt to dial it, ended: the questions that fail with it.
    pub(super) fn on_down(&mut self, link: LinkId) -> Vec<AskId> {
        let range = (link, CircuitId(0))..=(link, CircuitId(u32::MAX));
        let mut failed: Vec<AskId> =
            self.waiting.remove(&link).unwrap_or_default().into_iter().map(|one| one.ask).collect();
        failed.extend(self.outgoing.extract_if(range.clone(), |_, _| true).map(|(_, one)| one.ask));
        let partial: Vec<_> = self.incoming.range(range).map(|(key, _)| *key).collect();
        partial.iter().for_each(|key| drop(self.take_incoming(key)));
        failed.retain(|ask| {
            self.started.remove(ask);
            self.deadlines.remove(ask).is_some()
        });
        failed
    }

    /// Questions past their deadline, with the circuit numbers they leave behind.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<AskId>, Vec<(LinkId, CircuitId)>) {
        let due = self.deadlines.due(now);
        let mut late = Vec::new();
        for ask in &due {
            self.deadlines.remove(ask);
            if let Some(end) = self.started.remove(ask) {
                self.outgoing.remove(&end);
                late.push(end);
            }
        }
        late.sort_unstable();
        (due, late)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}

/// A question's place in an exit's errand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ErrandAsk {
    /// The errand.
    pub(super) errand: u64,
    /// Whom it asked.
    pub(super) to: Id,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MESSAGE_LEN_MAX;

    const LINK: LinkId = LinkId(2);

    fn question() -> Ask {
        Ask::Members { after: None }
    }

    /// The first cell of a message that needs so many more.
    fn beginning(circuit: u32) -> Cell {
        let cells = cells_of(CircuitId(circuit), Command::Ask, &vec![0; MESSAGE_LEN_MAX]).unwrap();
        cells.into_iter().next().unwrap()
    }

    // [MSG-W-006]
    #[test]
    fn questions_that_wait_for_a_link_or_are_open_on_it_are_capped() {
        let mut asks = Asks::default();
        for number in 0..ASKS_PER_LINK_MAX {
            assert!(asks.wait(Instant::ZERO, LINK, AskId(u64::try_from(number).unwrap()), &question()));
        }
        assert!(!asks.wait(Instant::ZERO, LINK, AskId(9_999), &question()));
        let mut asks = Asks::default();
        let open = |asks: &mut Asks, number: usize| {
            let circuit = CircuitId(u32::try_from(number + 1).unwrap());
            asks.start(Instant::ZERO, LINK, circuit, AskId(u64::try_from(number).unwrap()), &question().encode())
                .is_some()
        };
        assert!((0..ASKS_PER_LINK_MAX).all(|number| open(&mut asks, number)));
        assert!(!open(&mut asks, ASKS_PER_LINK_MAX));
    }

    // [MSG-W-016]
    #[test]
    fn a_question_fails_at_its_deadline_and_a_late_answer_is_nothing() {
        let mut asks = Asks::default();
        let circuit = CircuitId(1);
        asks.start(Instant::ZERO, LINK, circuit, AskId(1), &question().encode()).unwrap();
        let due = Instant::ZERO + ASK_TIMEOUT;
        assert_eq!(asks.poll_timeout(), Some(due));
        assert_eq!(asks.expire(Instant::from_micros(due.as_micros() - 1)).0, vec![]);
        assert_eq!(asks.expire(due), (vec![AskId(1)], vec![(LINK, circuit)]));
        let answer = cells_of(circuit, Command::Answer, &Answer::Refused.encode()).unwrap();
        assert!(matches!(asks.on_answer(Instant::ZERO, LINK, &answer[0]), Heard::Nothing));
        assert_eq!(asks.poll_timeout(), None);
    }

    // [MSG-R-010]
    #[test]
    fn a_client_has_one_cell_for_a_question() {
        assert_eq!(Asks::default().on_ask(Instant::ZERO, LINK, &beginning(1), true), Err(LINK));
    }

    /// Beginnings of questions on one link until it must go; how many cells were taken, and which link it was.
    fn fill(asks: &mut Asks, link: u64, first: &[Cell], cells_max: usize) -> (usize, Option<LinkId>) {
        let mut taken = 0;
        for circuit in 1.. {
            for cell in first {
                if taken == cells_max {
                    return (taken, None);
                }
                let cell = cell.clone().on_circuit(CircuitId(circuit));
                match asks.on_ask(Instant::ZERO, LinkId(link), &cell, false) {
                    Ok(_) => taken += 1,
                    Err(guilty) => return (taken, Some(guilty)),
                }
            }
        }
        unreachable!("the share of a link ends")
    }

    // [MSG-R-013] [MSG-R-014]
    #[test]
    fn what_has_not_come_whole_is_capped_per_link_and_in_all_and_the_link_that_holds_most_must_go() {
        let all = cells_of(CircuitId(1), Command::Ask, &vec![0; MESSAGE_LEN_MAX]).unwrap();
        let first = &all[..all.len() - 1];
        let (per_link, in_all) = (PARTIAL_ASKS_PER_LINK_BYTES_MAX / BODY_LEN, PARTIAL_ASKS_BYTES_MAX / BODY_LEN);
        let mut asks = Asks::default();
        assert_eq!(fill(&mut asks, 1, first, usize::MAX), (per_link, Some(LinkId(1))));
        asks.on_down(LinkId(1));
        assert_eq!(asks.incoming_cells, 0);
        assert!(asks.incoming_by_link.is_empty());
        let mut held = 0;
        for link in 2..100 {
            // The first of them holds a little more than the others.
            let (taken, guilty) = fill(&mut asks, link, first, per_link - usize::from(link > 2));
            held += taken;
            if let Some(guilty) = guilty {
                assert_eq!((guilty, held), (LinkId(2), in_all));
                return;
            }
        }
        unreachable!("the cap in all was not reached");
    }

    // [MSG-R-012]
    #[test]
    fn an_unfinished_question_is_told_at_its_deadline() {
        let mut asks = Asks::default();
        asks.on_ask(Instant::ZERO, LINK, &beginning(1), false).unwrap();
        let due = Instant::ZERO + PARTIAL_ASK_TIMEOUT;
        assert_eq!(asks.unfinished(Instant::from_micros(due.as_micros() - 1)), vec![]);
        assert_eq!(asks.unfinished(due), vec![LINK]);
    }

    #[test]
    fn questions_fail_with_their_link_whether_they_wait_or_are_open() {
        let mut asks = Asks::default();
        asks.wait(Instant::ZERO, LINK, AskId(1), &question());
        asks.start(Instant::ZERO, LINK, CircuitId(1), AskId(2), &question().encode()).unwrap();
        asks.start(Instant::ZERO, LinkId(4), CircuitId(1), AskId(3), &question().encode()).unwrap();
        assert_eq!(asks.on_down(LINK), vec![AskId(1), AskId(2)]);
        assert_eq!(asks.on_down(LINK), vec![]);
        assert_eq!((asks.started.len(), asks.outgoing.len()), (1, 1));
    }

    #[test]
    fn of_many_questions_those_and_only_those_that_are_late_fail_in_order_and_free_their_numbers() {
        let (mut asks, second) = (Asks::default(), 1_000_000);
        let at = |seconds: u64| Instant::from_micros(seconds * second);
        for number in 0..30_u64 {
            // Even ones wait for a link, for a second before they start; numbers do not follow time.
            let (ask, link, circuit) =
                (AskId(number * 7 % 30), LinkId(number % 4), CircuitId(u32::try_from(number).unwrap()));
            if number.is_multiple_of(2) {
                assert!(asks.wait(at(number), link, ask, &question()));
            }
            asks.start(at(number + 1), link, circuit, ask, &question().encode()).unwrap();
        }
        let mut failed = Vec::new();
        for now in 0..40 {
            let next = asks.poll_timeout();
            let (due, ends) = asks.expire(at(now));
            assert_eq!(due.is_empty(), next.is_none_or(|next| next > at(now)));
            assert!(due.is_sorted() && ends.is_sorted() && due.len() == ends.len());
            for ask in &due {
                let number = (0..30_u64).find(|number| number * 7 % 30 == ask.0).unwrap();
                let begun = number + number % 2;
                assert_eq!(at(now), at(begun) + ASK_TIMEOUT, "each at its second");
            }
            failed.extend(due);
        }
        assert_eq!((failed.len(), asks.outgoing.len(), asks.started.len(), asks.poll_timeout()), (30, 0, 0, None));
    }
}
