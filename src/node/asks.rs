//! Questions under way between this node and others, both ways: numbers, joined cells, deadlines. Source: spec/messages.md §1.

use std::collections::BTreeMap;

use super::io::LinkId;
use crate::keyspace::Id;
use crate::limits::{ASK_TIMEOUT, ASKS_PER_LINK_MAX};
use crate::time::Instant;
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
    deadline: Instant,
    assembler: Assembler,
}

/// All of them.
#[derive(Default)]
pub(super) struct Asks {
    waiting: BTreeMap<LinkId, Vec<Waiting>>,
    outgoing: BTreeMap<(LinkId, CircuitId), Outgoing>,
    incoming: BTreeMap<(LinkId, CircuitId), Assembler>,
    deadlines: BTreeMap<AskId, Instant>,
}

/// What a cell of an answer came to.
pub(super) enum Heard {
    /// More cells are to come, or nobody waits for it.
    Nothing,
    /// The whole answer.
    Answer(AskId, Answer),
    /// The peer sent something that is no answer.
    Broken(AskId),
}

impl Asks {
    /// Keeps a question until its link is up.
    pub(super) fn wait(&mut self, now: Instant, link: LinkId, ask: AskId, question: &Ask) {
        self.deadlines.insert(ask, now + ASK_TIMEOUT);
        self.waiting.entry(link).or_default().push(Waiting { ask, message: question.encode() });
    }

    /// Questions that waited for this link.
    pub(super) fn on_up(&mut self, link: LinkId) -> Vec<(AskId, Vec<u8>)> {
        let waited = self.waiting.remove(&link).unwrap_or_default();
        waited
            .into_iter()
            .filter(|one| self.deadlines.contains_key(&one.ask))
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
        let deadline = *self.deadlines.entry(ask).or_insert(now + ASK_TIMEOUT);
        self.outgoing.insert((link, circuit), Outgoing { ask, deadline, assembler: Assembler::default() });
        Some(cells)
    }

    /// A cell of an answer.
    pub(super) fn on_answer(&mut self, link: LinkId, cell: &Cell) -> Heard {
        let key = (link, cell.circuit());
        let Some(outgoing) = self.outgoing.get_mut(&key) else { return Heard::Nothing };
        let ask = outgoing.ask;
        let joined = match outgoing.assembler.push(cell.body()) {
            Ok(None) => return Heard::Nothing,
            Ok(Some(message)) => Answer::decode(&message).ok(),
            Err(_) => None,
        };
        self.outgoing.remove(&key);
        self.deadlines.remove(&ask);
        joined.map_or(Heard::Broken(ask), |answer| Heard::Answer(ask, answer))
    }

    /// A cell of a question: `Ok(Some)` once it is whole.
    ///
    /// # Errors
    /// The peer broke the protocol, or has too many questions open.
    pub(super) fn on_ask(&mut self, link: LinkId, cell: &Cell, is_new: bool) -> Result<Option<Ask>, ()> {
        let key = (link, cell.circuit());
        if is_new {
            let open = self.incoming.range((link, CircuitId(0))..=(link, CircuitId(u32::MAX))).count();
            if open >= ASKS_PER_LINK_MAX {
                return Err(());
            }
            self.incoming.insert(key, Assembler::default());
        }
        let assembler = self.incoming.get_mut(&key).ok_or(())?;
        match assembler.push(cell.body()) {
            Ok(None) => Ok(None),
            Ok(Some(message)) => {
                self.incoming.remove(&key);
                Ask::decode(&message).map(Some).map_err(|_| ())
            }
            Err(_) => {
                self.incoming.remove(&key);
                Err(())
            }
        }
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
        self.incoming.retain(|key, _| !range.contains(key));
        failed.retain(|ask| self.deadlines.remove(ask).is_some());
        failed
    }

    /// Questions past their deadline, with the circuit numbers they leave behind.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<AskId>, Vec<(LinkId, CircuitId)>) {
        let due: Vec<AskId> = self.deadlines.iter().filter(|(_, at)| **at <= now).map(|(ask, _)| *ask).collect();
        due.iter().for_each(|ask| {
            self.deadlines.remove(ask);
        });
        let late: Vec<_> = self.outgoing.iter().filter(|(_, one)| one.deadline <= now).map(|(key, _)| *key).collect();
        late.iter().for_each(|key| {
            self.outgoing.remove(key);
        });
        (due, late)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
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

    const LINK: LinkId = LinkId(1);

    fn circuit(number: usize) -> CircuitId {
        CircuitId(u32::try_from(number + 1).unwrap())
    }

    #[test]
    fn a_link_has_only_so_many_unfinished_questions_either_way() {
        let mut asks = Asks::default();
        let long = vec![1; MESSAGE_LEN_MAX];
        let first = |number| cells_of(circuit(number), Command::Ask, &long).unwrap().swap_remove(0);
        for number in 0..ASKS_PER_LINK_MAX {
            assert_eq!(asks.on_ask(LINK, &first(number), true), Ok(None));
            assert!(asks.start(Instant::ZERO, LINK, circuit(number), AskId(0), &[3, 0]).is_some());
        }
        assert_eq!(asks.on_ask(LINK, &first(ASKS_PER_LINK_MAX), true), Err(()));
        assert!(asks.start(Instant::ZERO, LINK, circuit(ASKS_PER_LINK_MAX), AskId(0), &[3, 0]).is_none());
        assert_eq!(asks.on_ask(LinkId(2), &first(0), true), Ok(None), "another link has its own");
        asks.on_down(LINK);
        assert_eq!(asks.on_ask(LINK, &first(0), true), Ok(None));
    }

    #[test]
    fn a_question_not_answered_in_time_is_told_once_and_an_answer_after_that_is_not_heard() {
        let mut asks = Asks::default();
        asks.start(Instant::ZERO, LINK, circuit(0), AskId(7), &[3, 0]).unwrap();
        assert_eq!(asks.poll_timeout(), Some(Instant::ZERO + ASK_TIMEOUT));
        assert_eq!(asks.expire(Instant::from_micros(1_999_999)), (vec![], vec![]));
        assert_eq!(asks.expire(Instant::from_micros(2_000_000)), (vec![AskId(7)], vec![(LINK, circuit(0))]));
        assert_eq!(asks.expire(Instant::from_micros(9_000_000)), (vec![], vec![]));
        let late = cells_of(circuit(0), Command::Answer, &Answer::Refused.encode()).unwrap().swap_remove(0);
        assert!(matches!(asks.on_answer(LINK, &late), Heard::Nothing));
    }
}
