//! What is going to happen, in the order of virtual time; what is due at one instant happens in the order in which it was
//! planned. It must not know what events mean to nodes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::pipe::{Frame, PipeNo, Side};
use super::{Life, NodeNo};
use crate::link::DownReason;
use crate::node::io::LinkId;
use crate::time::Instant;

/// One thing that is going to happen.
pub(super) enum Event {
    /// A machine asked to be woken now.
    Wake { node: NodeNo, life: Life },
    /// A socket is connected, as its dialler learns.
    Connected { pipe: PipeNo },
    /// A dial has failed.
    DialFailed { node: NodeNo, life: Life, link: LinkId, reason: DownReason },
    /// A frame has arrived.
    Frame { pipe: PipeNo, to: Side, frame: Frame },
    /// One end learns that its link is no more.
    Down { pipe: PipeNo, to: Side, reason: DownReason },
    /// An end has heard nothing for too long, if its direction is still cut.
    Silence { pipe: PipeNo, to: Side },
    /// A link breaks.
    Break { pipe: PipeNo },
    /// A deadline of a link machine, where links are real.
    LinkTimer { pipe: PipeNo, side: Side },
}

struct Entry {
    at: Instant,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: that is what the heap gives first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    planned: u64,
}

impl Queue {
    pub(super) fn plan(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        self.heap.push(Entry { at, number: self.planned, event });
    }

    /// The next event, if it is due by then.
    pub(super) fn next_by(&mut self, until: Instant) -> Option<(Instant, Event)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_planning() {
        let mut queue = Queue::default();
        for (at, node) in [(5, 1), (3, 2), (5, 3), (4, 4)] {
            queue.plan(Instant::from_micros(at), Event::Wake { node: NodeNo(node), life: 0 });
        }
        let mut order = Vec::new();
        while let Some((at, Event::Wake { node, .. })) = queue.next_by(Instant::from_micros(5)) {
            order.push((at.as_micros(), node.0));
        }
        assert_eq!(order, [(3, 2), (4, 4), (5, 1), (5, 3)]);
        queue.plan(Instant::from_micros(9), Event::Wake { node: NodeNo(1), life: 0 });
        assert!(queue.next_by(Instant::from_micros(8)).is_none());
        assert_eq!(queue.len(), 1);
    }
}
