//! What a node must do by the rules of the specification, checked from outside: each check says something to it, right or wrong, and judges
//! what comes back. [`listen`] is the mirror of it, for whoever dials. It must not know how a node is built, nor what a rule is for.
//! Source: spec/cli.md §15.

mod bench;
mod cells;
mod links;
pub mod listen;
mod messages;
mod onion;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use self::bench::Bench;
use crate::crypto::CryptoRng;
use crate::limits::{CONFORM_AT_ONCE, CONFORM_CHECK_MAX};
use crate::net::Clock;
use crate::probe::{Me, NotUp, Session, Target};
use crate::time::Duration;

/// Whatever ends at a deadline may be so late: by the scheduler of a busy machine.
const LATE: Duration = Duration::from_secs(10);
/// What must end at once has so long: less than a handshake has, whose deadline would end it too.
const AT_ONCE: Duration = Duration::from_secs(5);

type Judging<'a> = Pin<Box<dyn Future<Output = Judged> + 'a>>;

/// What a check of one or several rules is.
pub struct Check {
    /// The rules that it proves from outside, as spec/ names them.
    pub rules: &'static [&'static str],
    /// In short.
    pub what: &'static str,
    run: for<'a> fn(&'a mut Bench) -> Judging<'a>,
}

/// What came of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All that was tried went as it must.
    Pass,
    /// It did not: what was seen.
    Fail(String),
    /// The peer does not offer what the rule is about.
    NotOffered(String),
    /// The rule could not be tried.
    NotSeen(String),
}

/// One check and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Of the check.
    pub rules: &'static [&'static str],
    /// Of the check.
    pub what: &'static str,
    /// For each of its rules.
    pub verdict: Verdict,
}

/// Why a check did not pass.
enum Unproven {
    Wrong(String),
    NotOffered(String),
    NotSeen(String),
}

type Judged = Result<(), Unproven>;

/// Why nothing could be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// No link came up.
    #[error("{0}")]
    NotUp(#[from] NotUp),
    /// It shows no descriptor that holds: no relay of this network, or a clock is wrong.
    #[error("it shows no descriptor that holds in this network at this machine's time")]
    NoRelay,
}

impl Unproven {
    fn verdict(self) -> Verdict {
        match self {
            Self::Wrong(seen) => Verdict::Fail(seen),
            Self::NotOffered(what) => Verdict::NotOffered(what),
            Self::NotSeen(why) => Verdict::NotSeen(why),
        }
    }
}

/// All checks, in the order of their rules.
pub static CHECKS: &[Check] = &[
    Check {
        rules: &["CELL-R-002"],
        what: "a cell without meaning ends the link",
        run: |b| Box::pin(cells::meaningless(b)),
    },
    Check {
        rules: &["CELL-R-004"],
        what: "a Credit of nothing ends its circuit",
        run: |b| Box::pin(cells::empty_credit(b)),
    },
    Check {
        rules: &["CELL-R-005"],
        what: "a Destroy ends its circuit whatever its body",
        run: |b| Box::pin(cells::dirty_destroy(b)),
    },
    Check {
        rules: &["CELL-R-006"],
        what: "a Destroy is not answered by a Destroy",
        run: |b| Box::pin(cells::destroy_answered(b)),
    },
    Check {
        rules: &["CELL-R-007"],
        what: "a Padding is dropped whatever its body",
        run: |b| Box::pin(cells::padding(b)),
    },
    Check {
        rules: &["CELL-R-008"],
        what: "cells of numbers that are not open are dropped",
        run: |b| Box::pin(cells::of_nothing(b)),
    },
    Check {
        rules: &["LINK-W-002", "LINK-W-005", "LINK-W-010", "LINK-W-019", "MEMB-W-001"],
        what: "a right first frame is answered, with a descriptor that holds",
        run: |b| Box::pin(links::answered(b)),
    },
    Check {
        rules: &["LINK-R-009"],
        what: "a first frame that does not hold is met with silence",
        run: |b| Box::pin(links::silence(b)),
    },
    Check {
        rules: &["LINK-R-014"],
        what: "a third frame that does not open ends the link",
        run: |b| Box::pin(links::third_sealed(b)),
    },
    Check {
        rules: &["LINK-R-015"],
        what: "a third frame that is no Hello ends the link",
        run: |b| Box::pin(links::third_is_no_hello(b)),
    },
    Check {
        rules: &["LINK-R-016", "LINK-R-017"],
        what: "of one /24 no more than 64 links begin at once",
        run: |b| Box::pin(links::too_many(b)),
    },
    Check {
        rules: &["LINK-R-020", "MEMB-R-002"],
        what: "a hello that cannot be read ends the link",
        run: |b| Box::pin(links::hello_unreadable(b)),
    },
    Check {
        rules: &["LINK-R-021", "VER-R-002"],
        what: "without a common version the link ends",
        run: |b| Box::pin(links::versions(b)),
    },
    Check {
        rules: &["LINK-R-023"],
        what: "a descriptor of another link key ends the link",
        run: |b| Box::pin(links::foreign_key(b)),
    },
    Check {
        rules: &["LINK-R-024", "MEMB-R-003"],
        what: "a descriptor that does not hold ends the link",
        run: |b| Box::pin(links::descriptor_refused(b)),
    },
    Check {
        rules: &["LINK-R-027"],
        what: "a frame that does not open ends the link",
        run: |b| Box::pin(links::frames(b)),
    },
    Check { rules: &["LINK-R-028"], what: "a second Hello ends the link", run: |b| Box::pin(links::second_hello(b)) },
    Check {
        rules: &["LINK-R-029"],
        what: "a handshake that is not finished ends in time",
        run: |b| Box::pin(links::unfinished(b)),
    },
    Check { rules: &["LINK-W-030"], what: "an idle end sends one Padding in time", run: |b| Box::pin(links::idle(b)) },
    Check { rules: &["LINK-W-047"], what: "cells that were used are credited", run: |b| Box::pin(onion::credited(b)) },
    Check {
        rules: &["LINK-R-049"],
        what: "a Credit above the maximum ends its circuit",
        run: |b| Box::pin(onion::over_credited(b)),
    },
    Check {
        rules: &["MSG-R-002"],
        what: "a number of the wrong end, or in use, ends the link",
        run: |b| Box::pin(messages::numbers(b)),
    },
    Check {
        rules: &["MSG-R-004"],
        what: "a length above the cap, or a byte behind the end, ends the link",
        run: |b| Box::pin(messages::lengths(b)),
    },
    Check {
        rules: &["MSG-R-005"],
        what: "cells of several questions may come mixed",
        run: |b| Box::pin(messages::mixed(b)),
    },
    Check {
        rules: &["MSG-R-007"],
        what: "more unfinished questions than may be end the link",
        run: |b| Box::pin(messages::too_many_open(b)),
    },
    Check {
        rules: &["MSG-R-008"],
        what: "a question that cannot be read ends the link",
        run: |b| Box::pin(messages::unreadable(b)),
    },
    Check {
        rules: &["MSG-R-010"],
        what: "a client's question of two cells ends the link",
        run: |b| Box::pin(messages::long_of_client(b)),
    },
    Check {
        rules: &["MSG-R-011"],
        what: "a client's questions beyond its share end the link",
        run: |b| Box::pin(messages::many_of_client(b)),
    },
    Check {
        rules: &["MSG-R-012"],
        what: "a question that is not whole in time ends the link",
        run: |b| Box::pin(messages::never_whole(b)),
    },
    Check {
        rules: &["MSG-R-013", "MSG-R-014"],
        what: "unfinished questions above their bytes, of a link or of all, end the link with most",
        run: |b| Box::pin(messages::bytes_open(b)),
    },
    Check {
        rules: &["MSG-R-021"],
        what: "a client's Find, Store and Differences are Refused",
        run: |b| Box::pin(messages::not_for_clients(b)),
    },
    Check {
        rules: &["MSG-R-022"],
        what: "a Find is answered by a statement that holds",
        run: |b| Box::pin(messages::find(b)),
    },
    Check {
        rules: &["MSG-R-023"],
        what: "a Find brings the value that was stored",
        run: |b| Box::pin(messages::stored_is_found(b)),
    },
    Check {
        rules: &["MSG-R-026"],
        what: "a Store is answered by a statement that holds, or Refused",
        run: |b| Box::pin(messages::store(b)),
    },
    Check {
        rules: &["MSG-R-027", "MSG-W-030", "MEMB-W-012"],
        what: "members come in pages that ascend, each descriptor readable and holding",
        run: |b| Box::pin(messages::members(b)),
    },
    Check {
        rules: &["MSG-R-028"],
        what: "a sign of life is answered by an empty page",
        run: |b| Box::pin(messages::sign_of_life(b)),
    },
    Check {
        rules: &["MSG-R-029"],
        what: "Differences are answered by what is not held",
        run: |b| Box::pin(messages::differences(b)),
    },
    Check {
        rules: &["REQ-R-007"],
        what: "a Forward with fewer data than belong in it ends the circuit",
        run: |b| Box::pin(onion::short_forward(b)),
    },
    Check {
        rules: &["ONION-R-016"],
        what: "routing without a meaning ends the circuit",
        run: |b| Box::pin(onion::routing(b)),
    },
    Check {
        rules: &["ONION-R-019"],
        what: "a request that reaches over its frame ends the circuit",
        run: |b| Box::pin(onion::request_too_long(b)),
    },
    Check {
        rules: &["ONION-R-022"],
        what: "a Build under a number of the wrong end is refused",
        run: |b| Box::pin(onion::wrong_number(b)),
    },
    Check {
        rules: &["ONION-R-023", "VER-R-005"],
        what: "a Build of another suite or hint is refused",
        run: |b| Box::pin(onion::wrong_suite(b)),
    },
    Check {
        rules: &["ONION-R-024"],
        what: "a Build that was changed is refused",
        run: |b| Box::pin(onion::changed(b)),
    },
    Check {
        rules: &["ONION-R-026", "ONION-W-034"],
        what: "an unknown next relay is not reached",
        run: |b| Box::pin(onion::unknown_next(b)),
    },
    Check {
        rules: &["ONION-R-043"],
        what: "a Forward that was changed ends the circuit",
        run: |b| Box::pin(onion::changed_forward(b)),
    },
    Check {
        rules: &["ONION-R-046"],
        what: "a Build of another time is refused",
        run: |b| Box::pin(onion::wrong_time(b)),
    },
    Check {
        rules: &["ONION-R-047", "ONION-R-049"],
        what: "a Build that was sent before is refused, on any link",
        run: |b| Box::pin(onion::replayed(b)),
    },
    Check {
        rules: &["ONION-W-029", "REQ-W-002", "REQ-W-009", "REQ-W-011"],
        what: "a request is answered in the cells of its kind, in time",
        run: |b| Box::pin(onion::served(b)),
    },
    Check {
        rules: &["REQ-R-004"],
        what: "a request that cannot be read ends the circuit",
        run: |b| Box::pin(onion::unreadable(b)),
    },
];

impl Check {
    /// The checks of these rules; all of them where none is named.
    pub fn of(rules: &[String]) -> impl Iterator<Item = &'static Self> {
        CHECKS
            .iter()
            .filter(move |check| rules.is_empty() || check.rules.iter().any(|rule| rules.iter().any(|one| one == rule)))
    }

    async fn judge(&self, bench: &mut Bench) -> Finding {
        let verdict = match timeout(CONFORM_CHECK_MAX, (self.run)(bench)).await {
            Ok(Ok(())) => Verdict::Pass,
            Ok(Err(unproven)) => unproven.verdict(),
            Err(_) => Verdict::Fail(format!("it took longer than {} s", CONFORM_CHECK_MAX.as_secs())),
        };
        Finding { rules: self.rules, what: self.what, verdict }
    }
}

/// Checks a node as its client and fellow relay, from `bind` where the checks have no loopback networks to come from. Each finding is told as soon as it is there; all come back in the order of the checks.
///
/// # Errors
/// [`NotBegun`]: nothing was checked.
pub async fn conform(
    target: Target,
    bind: Option<IpAddr>,
    checks: Vec<&'static Check>,
    rng: &mut dyn CryptoRng,
    tell: &mut dyn FnMut(&Finding),
) -> Result<Vec<Finding>, NotBegun> {
    let first = Session::up(&target, &Me::client(rng), Bench::first_source(&target, bind), rng).await?;
    let shown = first.hello.descriptor.clone().ok_or(NotBegun::NoRelay)?;
    let own = shown.verify(&target.network, Clock::unix()).map_err(|_| NotBegun::NoRelay)?;
    drop(first);
    // On this thread, for generators are not sent; what is waited for are sockets.
    let (places, local) = (Arc::new(Semaphore::new(CONFORM_AT_ONCE)), LocalSet::new());
    let mut running = JoinSet::new();
    for (at, check) in checks.iter().copied().enumerate() {
        let (mut bench, places) = (Bench::new((target, bind), own.clone(), at, rng), Arc::clone(&places));
        let judging = async move {
            // Never closed.
            let _place = places.acquire_owned().await;
            (at, check.judge(&mut bench).await)
        };
        running.spawn_local_on(judging, &local);
    }
    let mut found: BTreeMap<usize, Finding> = BTreeMap::new();
    let gathered = async {
        while let Some(ended) = running.join_next().await {
            // A check that panicked gives nothing back.
            let Ok((at, finding)) = ended else { continue };
            tell(&finding);
            found.insert(at, finding);
        }
    };
    local.run_until(gathered).await;
    let lost = |check: &Check| {
        let verdict = Verdict::NotSeen("the check itself failed".to_owned());
        Finding { rules: check.rules, what: check.what, verdict }
    };
    Ok((0..).zip(checks).map(|(at, check)| found.remove(&at).unwrap_or_else(|| lost(check))).collect())
}

#[cfg(test)]
mod tests;
