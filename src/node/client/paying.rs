//! A client pays for what it stores, before the circuit is built that carries it: puzzles are solved in the work pool, some trials at
//! a time. What is to be solved the operation says. Source: spec/dht.md §8.3.

use super::runs::Due;
use super::{ClientNode, Pending};
use crate::crypto::random_bytes;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::limits::{EFFORT_TRIALS, EFFORT_TRIALS_PER_JOB, EFFORT_TRIALS_TIMES_MAX};
use crate::node::work::Job;
use crate::request::Terms;
use crate::time::Now;
use crate::wire::descriptor::SignedDescriptor;
use crate::wire::payment::Payment;

/// A circuit that waits for what is to be paid.
pub(super) struct Solving {
    due: Due,
    /// Slot by slot.
    puzzles: Vec<Option<StoragePuzzle>>,
    /// Of the first slots.
    payments: Vec<Option<Payment>>,
    /// The next counter to try, and how many were tried for this slot.
    from: u32,
    tried: u32,
}

impl ClientNode {
    /// Gives the circuit back once all is paid that can be; until then it waits for the work pool.
    pub(super) fn paid(&mut self, now: Now, mut due: Due) -> Option<Due> {
        if due.is_paid {
            return Some(due);
        }
        let terms =
            Terms { network: &self.config.network, members: &self.members, told: &self.told_efforts, now: now.unix };
        let request = self.operations.get_mut(&due.operation)?;
        let puzzles = request.puzzles(due.attempt.id, &terms);
        if puzzles.iter().any(Option::is_some) {
            request.set_solving(due.attempt.id, true);
            let from = u32::from_be_bytes(random_bytes(&mut self.rng));
            self.solve(Solving { due, puzzles, payments: Vec::new(), from, tried: 0 });
            return None;
        }
        due.attempt.request.pay(request.payments(due.attempt.id));
        due.is_paid = true;
        Some(due)
    }

    /// Of what bootstraps tell, what is new. A guard's descriptor that they tell sets its price, and no longer what they said before.
    pub(super) fn wanted_of(&mut self, told: Vec<SignedDescriptor>) -> Vec<SignedDescriptor> {
        let (wanted, held): (Vec<_>, Vec<_>) = told.into_iter().partition(|one| self.members.wants(one));
        for (key, issued) in held.iter().map(SignedDescriptor::claim) {
            if self.members.get(&key).is_some_and(|one| one.issued == issued) {
                self.told_efforts.on_told(&key);
            }
        }
        wanted
    }

    /// Some trials more, or the end.
    fn solve(&mut self, mut solving: Solving) {
        let free = solving.puzzles.iter().skip(solving.payments.len()).take_while(|one| one.is_none()).count();
        solving.payments.extend(core::iter::repeat_n(None, free));
        let Some(Some(puzzle)) = solving.puzzles.get(solving.payments.len()).copied() else {
            return self.on_all_paid(solving);
        };
        let (from, trials) = (solving.from, EFFORT_TRIALS_PER_JOB);
        self.work(Pending::Solving(Box::new(solving)), Job::Solve { puzzle, from, trials });
    }

    pub(super) fn on_solved(&mut self, mut solving: Solving, counter: Option<u32>) {
        let puzzle = solving.puzzles.get(solving.payments.len()).copied().flatten();
        let (Some(puzzle), true) = (puzzle, self.operations.contains_key(&solving.due.operation)) else { return };
        solving.tried = solving.tried.saturating_add(EFFORT_TRIALS_PER_JOB);
        solving.from = solving.from.wrapping_add(EFFORT_TRIALS_PER_JOB);
        let expected = EFFORT_TRIALS.get(usize::from(puzzle.effort)).copied().unwrap_or(0);
        let is_given_up = counter.is_none() && solving.tried >= expected.saturating_mul(EFFORT_TRIALS_TIMES_MAX);
        if counter.is_some() || is_given_up {
            let paid = |counter| Payment { effort: puzzle.effort, hour: puzzle.hour, counter };
            solving.payments.push(counter.map(paid));
            // Where the search began is nowhere seen twice.
            solving.from = u32::from_be_bytes(random_bytes(&mut self.rng));
            solving.tried = 0;
        }
        self.solve(solving);
    }

    fn on_all_paid(&mut self, Solving { mut due, payments, .. }: Solving) {
        let Some(request) = self.operations.get_mut(&due.operation) else { return };
        request.set_solving(due.attempt.id, false);
        request.on_paid(due.attempt.id, &payments);
        due.attempt.request.pay(request.payments(due.attempt.id));
        due.is_paid = true;
        self.due.push(due);
    }
}
