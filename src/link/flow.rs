//! Credits of one circuit on one hop, per direction: who sends counts down, who passes on grants again. Source: spec/link.md §6.

use std::collections::VecDeque;

use crate::limits::{CREDIT_MAX, CREDIT_START, CREDIT_STEP};
use crate::wire::cell::Cell;

/// The other side broke the rules of credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more cells or credits than were granted")]
pub struct Overrun;

/// The sending side: cells wait here when credits are used up.
#[derive(Debug)]
pub struct Sending {
    credit: u32,
    queue: VecDeque<Cell>,
}

/// The receiving side: what may still come, and what was passed on since the last grant.
#[derive(Debug)]
pub struct Receiving {
    allowance: u32,
    passed: u32,
}

impl Default for Sending {
    fn default() -> Self {
        Self { credit: CREDIT_START, queue: VecDeque::new() }
    }
}

impl Default for Receiving {
    fn default() -> Self {
        Self { allowance: CREDIT_START, passed: 0 }
    }
}

impl Sending {
    /// Queues a cell behind those that wait.
    pub fn push(&mut self, cell: Cell) {
        self.queue.push_back(cell);
    }

    /// The next cell that may go now.
    pub fn pop(&mut self) -> Option<Cell> {
        if self.credit == 0 {
            return None;
        }
        let cell = self.queue.pop_front()?;
        self.credit -= 1;
        Some(cell)
    }

    /// Takes credits from the receiver.
    ///
    /// # Errors
    /// [`Overrun`] when there would be more than a circuit may ever have.
    pub fn grant(&mut self, count: u32) -> Result<(), Overrun> {
        let credit = self.credit.checked_add(count).filter(|credit| *credit <= CREDIT_MAX).ok_or(Overrun)?;
        self.credit = credit;
        Ok(())
    }

    /// Cells that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }
}

impl Receiving {
    /// A cell came.
    ///
    /// # Errors
    /// [`Overrun`] when it was not covered by a credit.
    pub fn receive(&mut self) -> Result<(), Overrun> {
        self.allowance = self.allowance.checked_sub(1).ok_or(Overrun)?;
        Ok(())
    }

    /// A cell was passed on or used up; sometimes it is time to grant so many anew.
    pub fn pass(&mut self) -> Option<u32> {
        self.passed += 1;
        if self.passed < CREDIT_STEP {
            return None;
        }
        self.passed = 0;
        self.allowance += CREDIT_STEP;
        Some(CREDIT_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cell::{CircuitId, Command};

    // [LINK-W-046] [LINK-W-047] [LINK-R-048]
    #[test]
    fn a_sender_stops_without_credit_and_a_receiver_grants_only_what_was_passed_on() {
        let (mut sending, mut receiving) = (Sending::default(), Receiving::default());
        for _ in 0..CREDIT_MAX {
            sending.push(Cell::new(CircuitId(1), Command::Backward));
        }
        let mut moved = 0;
        while sending.pop().is_some() {
            receiving.receive().unwrap();
            moved += 1;
        }
        assert_eq!(moved, CREDIT_START);
        assert_eq!(receiving.receive(), Err(Overrun), "a cell beyond the credits is refused");
        let granted: u32 = (0..CREDIT_START).filter_map(|_| receiving.pass()).sum();
        assert_eq!(granted, CREDIT_START);
        sending.grant(granted).unwrap();
        assert!(sending.pop().is_some());
        assert_eq!(sending.queued(), usize::try_from(CREDIT_MAX - CREDIT_START - 1).unwrap());
    }

    // [LINK-R-049]
    #[test]
    fn credits_over_the_cap_are_refused() {
        let mut sending = Sending::default();
        assert_eq!(sending.grant(CREDIT_MAX), Err(Overrun));
        assert_eq!(sending.grant(u32::MAX), Err(Overrun));
        assert_eq!(sending.grant(CREDIT_MAX - CREDIT_START), Ok(()));
        assert_eq!(sending.grant(1), Err(Overrun));
    }
}
