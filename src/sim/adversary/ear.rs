//! What a mask overhears of its relay's talk: who is at its links, what was asked there, and answers as their cells come together.
//! It must not know what is made of them.

use std::collections::BTreeMap;

use crate::node::io::{Input, LinkId, Output};
use crate::sim::world::Neighbour;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::message::{Answer, Ask, Assembler, cells_of};

/// A question or answer on a link.
type End = (LinkId, CircuitId);

/// Whom a relay has links to.
#[derive(Default)]
pub(super) struct Neighbours(BTreeMap<LinkId, Neighbour>);

impl Neighbours {
    pub(super) fn meet(&mut self, link: LinkId, neighbour: Neighbour) {
        self.0.insert(link, neighbour);
    }

    pub(super) fn part(&mut self, link: LinkId) {
        self.0.remove(&link);
    }

    pub(super) fn at(&self, link: LinkId) -> Option<Neighbour> {
        self.0.get(&link).copied()
    }

    /// Whether one of them has this link key and is a relay.
    pub(super) fn has_relay(&self, link_key: &crate::crypto::keys::DhKey) -> bool {
        self.0.values().any(|one| one.link_key == *link_key && one.relay.is_some())
    }
}

/// Questions of others that the relay has not answered, as far as one cell holds them: all but stores of chunks.
#[derive(Default)]
pub(super) struct Questions(BTreeMap<End, Ask>);

impl Questions {
    /// Notes a question that comes in. The relay answers each or closes the link.
    pub(super) fn note(&mut self, input: &Input) {
        let Input::Cell { link, cell } = input else { return };
        if cell.command() == Command::Ask
            && let Ok(Some(message)) = Assembler::default().push(cell.body())
            && let Ok(ask) = Ask::decode(&message)
        {
            self.0.insert((*link, cell.circuit()), ask);
        }
    }

    pub(super) fn part(&mut self, link: LinkId) {
        let ended: Vec<End> =
            self.0.range((link, CircuitId(0))..=(link, CircuitId(u32::MAX))).map(|(end, _)| *end).collect();
        ended.iter().for_each(|end| {
            self.0.remove(end);
        });
    }

    fn take(&mut self, end: &End) -> Option<Ask> {
        self.0.remove(end)
    }
}

/// Answers on their way through, in one direction.
#[derive(Default)]
pub(super) struct Answers(BTreeMap<End, Assembler>);

impl Answers {
    /// The cells to be sent in the place of these: once an answer is whole it is changed, or left out.
    fn rewrite(&mut self, link: LinkId, cell: &Cell, change: impl FnOnce(Answer) -> Option<Answer>) -> Vec<Cell> {
        let end = (link, cell.circuit());
        let joined = self.0.entry(end).or_default().push(cell.body());
        let Ok(Some(message)) = joined else { return Vec::new() };
        self.0.remove(&end);
        let changed = Answer::decode(&message).ok().and_then(change);
        changed.and_then(|answer| cells_of(end.1, Command::Answer, &answer.encode())).unwrap_or_default()
    }

    /// What the relay says, with its answers changed; a question is known as far as it was noted.
    pub(super) fn say(
        &mut self,
        questions: &mut Questions,
        output: Output,
        said: &mut Vec<Output>,
        change: impl FnOnce(Option<Ask>, Answer) -> Option<Answer>,
    ) {
        match output {
            Output::Send { link, cell } if cell.command() == Command::Answer => {
                let asked = |answer| change(questions.take(&(link, cell.circuit())), answer);
                let cells = self.rewrite(link, &cell, asked);
                said.extend(cells.into_iter().map(|cell| Output::Send { link, cell }));
            }
            output => said.push(output),
        }
    }

    /// What the relay hears, with answers to it changed.
    pub(super) fn hear(
        &mut self,
        input: Input,
        heard: &mut Vec<Input>,
        change: impl FnOnce(LinkId, Answer) -> Option<Answer>,
    ) {
        match input {
            Input::Cell { link, cell } if cell.command() == Command::Answer => {
                let cells = self.rewrite(link, &cell, |answer| change(link, answer));
                heard.extend(cells.into_iter().map(|cell| Input::Cell { link, cell }));
            }
            input => heard.push(input),
        }
    }

    pub(super) fn part(&mut self, link: LinkId) {
        self.0.retain(|(of, _), _| *of != link);
    }
}
