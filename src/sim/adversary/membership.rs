//! Lies about who is in the network. It must not know circuits or values.

use std::rc::Rc;

use super::Ring;
use super::ear::{Answers, Neighbours, Questions};
use crate::node::io::{Input, LinkId, Output};
use crate::sim::world::{Mask, Neighbour};
use crate::time::Now;
use crate::wire::message::{Answer, Ask};

/// Every so manieth answer to a relay tells of the invented with their other descriptors.
const OTHERWISE_EVERY: u32 = 4;

/// Tells of the ring and the relays that it has invented, and of nobody else.
pub(super) struct Poison {
    ring: Rc<Ring>,
    neighbours: Neighbours,
    questions: Questions,
    given: Answers,
    told: u32,
}

impl Poison {
    pub(super) fn of(ring: Rc<Ring>) -> Self {
        let (neighbours, questions) = (Neighbours::default(), Questions::default());
        Self { ring, neighbours, questions, given: Answers::default(), told: 0 }
    }
}

impl Mask for Poison {
    fn meet(&mut self, link: LinkId, neighbour: Neighbour) {
        self.neighbours.meet(link, neighbour);
    }

    fn part(&mut self, link: LinkId) {
        self.neighbours.part(link);
        self.questions.part(link);
    }

    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        self.questions.note(&input);
        heard.push(input);
    }

    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        let to_relay = match &output {
            Output::Send { link, .. } => self.neighbours.at(*link).is_some_and(|one| one.relay.is_some()),
            _ => false,
        };
        let (ring, told) = (&self.ring, &mut self.told);
        self.given.say(&mut self.questions, output, said, |asked, answer| {
            let (after, until) = match (asked, &answer) {
                (Some(Ask::Members { after }), Answer::Members { .. }) => (after, None),
                (Some(Ask::Differences { after, until, .. }), Answer::Members { .. }) => (after, until),
                _ => return Some(answer),
            };
            *told += 1;
            let otherwise = to_relay && told.is_multiple_of(OTHERWISE_EVERY);
            let (descriptors, more) = ring.page(after, until, otherwise);
            Some(Answer::Members { descriptors, more, settled: true })
        });
    }
}
