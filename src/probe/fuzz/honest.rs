//! A client that asks the target what any client may ask, and checks what comes: how others fare meanwhile.
//!
//! Source: spec/fuzzing.md §4.

use std::net::IpAddr;

use rand::rngs::ChaCha20Rng;
use tokio::time::Instant;

use crate::crypto::random_bytes;
use crate::keyspace::Id;
use crate::limits::{ANSWER_LEN, FUZZ_HONEST_TIMES_MAX};
use crate::net::Clock;
use crate::onion::{Reply0, build};
use crate::probe::{Heard, Me, PATIENCE, Session, Target};
use crate::time::Duration;
use crate::wire::cell::{Cell, Command};
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::message::{Answer, Ask};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::record::ValueKind;
use crate::wire::statement::Nonce;

/// Questions over one link; then it shakes hands anew, as part of the next.
const ASKS_PER_LINK: u32 = 32;

/// How the questions of a time went.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All of them.
    pub asked: u64,
    /// Those that were not answered rightly and in time.
    pub failed: u64,
    times: Vec<Duration>,
}

impl Tally {
    /// One more, that took so long.
    pub fn note(&mut self, took: Duration, is_right: bool) {
        self.asked += 1;
        self.failed += u64::from(!is_right);
        if self.times.len() < FUZZ_HONEST_TIMES_MAX {
            self.times.push(took);
        }
    }

    /// The time below which so many of a hundred ended, failures among them; `None` without any.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(at).copied()
    }

    /// Failures of a thousand.
    #[must_use]
    pub fn failed_permille(&self) -> u64 {
        self.failed * 1_000 / self.asked.max(1)
    }
}

/// The client.
pub(super) struct Honest {
    target: Target,
    from: Option<IpAddr>,
    members: Vec<VerifiedDescriptor>,
    rng: ChaCha20Rng,
    link: Option<(Session, VerifiedDescriptor, u32)>,
    turn: u32,
}

impl Honest {
    pub(super) fn new(
        target: Target,
        from: Option<IpAddr>,
        members: Vec<VerifiedDescriptor>,
        rng: ChaCha20Rng,
    ) -> Self {
        Self { target, from, members, rng, link: None, turn: 0 }
    }

    /// Asks one thing; whether it was answered rightly, and how long that took.
    pub(super) async fn ask(&mut self) -> (Duration, bool) {
        let start = Instant::now();
        let asked = tokio::time::timeout(PATIENCE, self.one()).await;
        let is_right = asked.ok().flatten().is_some();
        if !is_right {
            self.link = None;
        }
        (start.elapsed(), is_right)
    }

    async fn one(&mut self) -> Option<()> {
        self.turn = self.turn.wrapping_add(1);
        let (mut session, own, asked) = match self.link.take() {
            Some(link) => link,
            None => {
                let session =
                    Session::up(&self.target, &Me::client(&mut self.rng), self.from, &mut self.rng).await.ok()?;
                let own = session.hello.descriptor.clone()?.verify(&self.target.network, Clock::unix()).ok()?;
                (session, own, 0)
            }
        };
        let number = asked + 1;
        match self.turn % 4 {
            0 => members(&mut session, number, &Ask::sign_of_life()).await?,
            2 => members(&mut session, number, &Ask::Members { after: None }).await?,
            1 => self.lookup(&mut session, number, core::slice::from_ref(&own)).await?,
            _ => {
                let path: Vec<_> = core::iter::once(own.clone()).chain(self.behind()).collect();
                self.lookup(&mut session, number, &path).await?;
            }
        }
        if number < ASKS_PER_LINK {
            self.link = Some((session, own, number));
        }
        Some(())
    }

    /// Two members behind the target, where it knows two: it is the guard, then.
    fn behind(&mut self) -> Vec<VerifiedDescriptor> {
        let count = self.members.len();
        if count < 2 {
            return Vec::new();
        }
        let draw = usize::from(u16::from_be_bytes(random_bytes(&mut self.rng)));
        [draw, draw + 1].iter().filter_map(|at| self.members.get(at % count)).cloned().collect()
    }

    /// A lookup of what is not there: its answer opens, has its length and can be read. That a member behind the target cannot be
    /// reached is no failure of the target.
    async fn lookup(&mut self, session: &mut Session, number: u32, path: &[VerifiedDescriptor]) -> Option<()> {
        let request =
            ExitRequest::Find { location: Id(random_bytes(&mut self.rng)), nonce: Nonce(random_bytes(&mut self.rng)) };
        let built = build(&self.target.network, path, &request.encode(), Clock::unix(), &mut self.rng).ok()?;
        let (mut circuit, mut data) = match session.build(number, built, PATIENCE).await {
            Heard::Came(Some(Reply0::Exit(circuit, data))) => (circuit, data),
            Heard::Came(Some(Reply0::NotReached { .. })) => return Some(()),
            _ => return None,
        };
        let deadline = Instant::now() + PATIENCE;
        let Heard::Came(Some(rest)) = session.backward(number, &mut circuit, deadline).await else { return None };
        data.extend(rest);
        let is_right = data.len() == ANSWER_LEN && ExitAnswer::decode(&data, ValueKind::Signed).is_ok();
        session.send(&Cell::new(crate::probe::circuit(number), Command::Destroy)).await.ok()?;
        is_right.then_some(())
    }
}

async fn members(session: &mut Session, number: u32, ask: &Ask) -> Option<()> {
    let Ask::Members { after } = ask else { return None };
    match session.ask(number, ask, PATIENCE).await {
        Heard::Came(Answer::Members { descriptors, more, .. }) => {
            Answer::page_end(&descriptors, more, *after).map(drop)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_time_of_that_rank_and_failures_are_counted_of_a_thousand() {
        let mut tally = Tally::default();
        assert_eq!((tally.percentile(50), tally.failed_permille()), (None, 0));
        for ms in (1..=200).rev() {
            tally.note(Duration::from_millis(ms), ms > 2);
        }
        assert_eq!(tally.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(tally.percentile(99), Some(Duration::from_millis(198)));
        assert_eq!(tally.percentile(100), Some(Duration::from_millis(200)));
        assert_eq!((tally.asked, tally.failed, tally.failed_permille()), (200, 2, 10));
    }

    #[test]
    fn so_many_times_are_kept_and_all_questions_are_counted() {
        let mut tally = Tally::default();
        (0..=FUZZ_HONEST_TIMES_MAX).for_each(|_| tally.note(Duration::ZERO, true));
        assert_eq!(tally.times.len(), FUZZ_HONEST_TIMES_MAX);
        assert_eq!(usize::try_from(tally.asked).unwrap(), FUZZ_HONEST_TIMES_MAX + 1);
    }
}
