//! What a dialler must do by the rules of the specification, checked by who is dialled: relays of a network of its own listen, are as
//! they should be, or wrong on purpose, and judge what the peer does. It must not know how a peer is built. Source: spec/cli.md §15.

mod board;
mod circuit;
mod circuits;
mod guest;
mod links;
mod stage;

use std::rc::Rc;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, timeout, timeout_at};

use self::board::Board;
use self::guest::Guest;
pub use self::stage::Stage;
use super::{Finding, Judging, LATE};
use crate::crypto::{CryptoRng, random_bytes};
use crate::limits::{ACCEPT_BACKOFF, CONFORM_GUESTS_MAX, LINK_PADDING_AFTER, TRANSFER_TIMEOUT};
use crate::probe::Wire;
use crate::time::Duration;

/// What a peer has to do before something can be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Needs {
    Link,
    LinkOfClient,
    LinkOfRelay,
    Ask,
    AskOfClient,
    /// A question of a relay, a circuit of a client: bootstraps may take longer to answer those.
    Unanswered,
    Build,
    Store,
    /// To be left in peace on a link.
    Quiet,
}

/// What is looked for in all that comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Sight {
    FirstFrame,
    ThirdFrame,
    Hello,
    Descriptor,
    FreshKeys,
    Frames,
    Numbers,
    Questions,
    MembersAlone,
    Packets,
    Times,
    Paths,
    Entrances,
    Requests,
    Nonces,
    Padding,
}

/// Something that is looked for, and the rules that it is about.
pub struct Sought {
    /// As spec/ names them.
    pub rules: &'static [&'static str],
    /// In short.
    pub what: &'static str,
    sight: Sight,
    needs: Needs,
}

/// Something that a peer is told, so often as it has acts, each on a link or circuit of its own.
pub struct Play {
    /// The rules that it is about, as spec/ names them.
    pub rules: &'static [&'static str],
    /// In short.
    pub what: &'static str,
    needs: Needs,
    acts: usize,
    run: for<'a> fn(&'a mut Guest, usize) -> Judging<'a>,
}

impl Needs {
    const fn is_of_clients(self) -> bool {
        matches!(self, Self::LinkOfClient | Self::AskOfClient | Self::Build | Self::Store)
    }
}

impl Sight {
    /// How often it has to be seen before nothing wrong in it says something.
    const fn times_min(self) -> u64 {
        if matches!(self, Self::FreshKeys | Self::Numbers | Self::Nonces) { 2 } else { 1 }
    }
}

const fn sought(sight: Sight, needs: Needs, rules: &'static [&'static str], what: &'static str) -> Sought {
    Sought { rules, what, sight, needs }
}

/// What is looked for in all that comes.
pub static SIGHTS: &[Sought] = &[
    sought(Sight::FirstFrame, Needs::Link, &["LINK-W-005", "LINK-W-007"], "a first frame opens, full of zeros"),
    sought(Sight::ThirdFrame, Needs::Link, &["LINK-W-012"], "a third frame is a Hello, and nothing comes before"),
    sought(Sight::Hello, Needs::Link, &["LINK-W-019"], "a hello can be read, with zeros behind it"),
    sought(Sight::Descriptor, Needs::LinkOfRelay, &["MEMB-W-001"], "a relay's hello shows a descriptor that holds"),
    sought(Sight::FreshKeys, Needs::LinkOfClient, &["LINK-W-003"], "a client has another key for each link"),
    sought(Sight::Frames, Needs::Link, &["CELL-W-001", "LINK-W-025"], "each frame opens to a cell with a meaning"),
    sought(Sight::Numbers, Needs::Ask, &["MSG-W-001"], "numbers are the dialler's, and drawn"),
    sought(Sight::Questions, Needs::Ask, &["MSG-W-003", "MSG-W-006", "MSG-W-020"], "a question can be read"),
    sought(Sight::MembersAlone, Needs::AskOfClient, &["MSG-W-019"], "a client asks for members alone"),
    sought(
        Sight::Packets,
        Needs::Build,
        &["ONION-W-010", "ONION-W-013", "ONION-W-014", "ONION-W-021"],
        "a Build opens at each hop, and no two are alike",
    ),
    sought(Sight::Times, Needs::Build, &["ONION-W-015"], "times in a Build are rounded, and of now"),
    sought(
        Sight::Paths,
        Needs::Build,
        &["MEMB-W-059", "ONION-W-028"],
        "paths have three to five hops, no two of them one",
    ),
    sought(Sight::Entrances, Needs::Build, &["REQ-W-020"], "a bootstrap is no exit"),
    sought(Sight::Requests, Needs::Build, &["REQ-W-003"], "a request can be read"),
    sought(Sight::Nonces, Needs::Build, &["REQ-W-021"], "each request has another nonce"),
    sought(Sight::Padding, Needs::Quiet, &["LINK-W-030"], "an idle end sends one Padding in time"),
];

/// What peers are told, in the order in which it is tried.
pub static PLAYS: &[Play] = &[
    Play {
        rules: &["LINK-R-011"],
        what: "a second frame that does not open ends the link",
        needs: Needs::Link,
        acts: 2,
        run: |g, act| Box::pin(links::second_changed(g, act)),
    },
    Play {
        rules: &["LINK-R-020"],
        what: "a hello that cannot be read ends the link",
        needs: Needs::Link,
        acts: 2,
        run: |g, act| Box::pin(links::hello_unreadable(g, act)),
    },
    Play {
        rules: &["LINK-R-021", "LINK-W-022"],
        what: "without a common version a hello is sent, and the link ends",
        needs: Needs::Link,
        acts: 1,
        run: |g, act| Box::pin(links::versions(g, act)),
    },
    Play {
        rules: &["LINK-R-023"],
        what: "no descriptor, and one of another link key, end the link",
        needs: Needs::Link,
        acts: 2,
        run: |g, act| Box::pin(links::other_key(g, act)),
    },
    Play {
        rules: &["LINK-R-024"],
        what: "a descriptor that does not hold ends the link, unused",
        needs: Needs::Link,
        acts: 2,
        run: |g, act| Box::pin(links::does_not_hold(g, act)),
    },
    Play {
        rules: &["LINK-R-029"],
        what: "a handshake that is not answered ends in time",
        needs: Needs::Link,
        acts: 1,
        run: |g, act| Box::pin(links::unanswered(g, act)),
    },
    Play {
        rules: &["LINK-R-027"],
        what: "a frame that does not open ends the link",
        needs: Needs::Link,
        acts: 5,
        run: |g, act| Box::pin(links::frames(g, act)),
    },
    Play {
        rules: &["LINK-R-028"],
        what: "a Hello after the handshake ends the link",
        needs: Needs::Link,
        acts: 1,
        run: |g, act| Box::pin(links::second_hello(g, act)),
    },
    Play {
        rules: &["CELL-R-002"],
        what: "a cell without meaning ends the link",
        needs: Needs::Link,
        acts: 4,
        run: |g, act| Box::pin(links::meaningless(g, act)),
    },
    Play {
        rules: &["CELL-R-007"],
        what: "a Padding is dropped whatever its body",
        needs: Needs::Link,
        acts: 1,
        run: |g, act| Box::pin(links::padding(g, act)),
    },
    Play {
        rules: &["CELL-R-008"],
        what: "cells of numbers that are not open are dropped",
        needs: Needs::Link,
        acts: 1,
        run: |g, act| Box::pin(links::of_nothing(g, act)),
    },
    Play {
        rules: &["MSG-R-018"],
        what: "a question, a Build or a Forward to a client ends the link",
        needs: Needs::LinkOfClient,
        acts: 3,
        run: |g, act| Box::pin(links::asked(g, act)),
    },
    Play {
        rules: &["MSG-R-009"],
        what: "an answer that cannot be read ends the link",
        needs: Needs::Ask,
        acts: 3,
        run: |g, act| Box::pin(links::unreadable(g, act)),
    },
    Play {
        rules: &["LINK-W-032"],
        what: "a silent link is asked for a sign of life, then ended",
        needs: Needs::Unanswered,
        acts: 1,
        run: |g, act| Box::pin(links::silent(g, act)),
    },
    Play {
        rules: &["ONION-W-004"],
        what: "a circuit that was answered is ended",
        needs: Needs::Build,
        acts: 1,
        run: |g, act| Box::pin(circuits::ended(g, act)),
    },
    Play {
        rules: &["ONION-R-032"],
        what: "a reply 0 that was changed ends the circuit",
        needs: Needs::Build,
        acts: 3,
        run: |g, act| Box::pin(circuits::reply_changed(g, act)),
    },
    Play {
        rules: &["ONION-R-033"],
        what: "a second reply 0, or a Backward before it, ends the circuit",
        needs: Needs::Build,
        acts: 2,
        run: |g, act| Box::pin(circuits::out_of_order(g, act)),
    },
    Play {
        rules: &["ONION-R-041"],
        what: "a Backward that was changed ends the circuit",
        needs: Needs::Build,
        acts: 2,
        run: |g, act| Box::pin(circuits::backward_changed(g, act)),
    },
    Play {
        rules: &["CELL-R-005", "CELL-R-006"],
        what: "a Destroy ends its circuit and is not answered",
        needs: Needs::Build,
        acts: 1,
        run: |g, act| Box::pin(circuits::destroyed(g, act)),
    },
    Play {
        rules: &["CELL-R-004"],
        what: "a Credit of nothing ends its circuit",
        needs: Needs::Build,
        acts: 2,
        run: |g, act| Box::pin(circuits::empty_credit(g, act)),
    },
    Play {
        rules: &["LINK-R-049"],
        what: "a Credit above the maximum ends its circuit",
        needs: Needs::Build,
        acts: 1,
        run: |g, act| Box::pin(circuits::over_credited(g, act)),
    },
    Play {
        rules: &["REQ-R-018"],
        what: "a circuit that nothing answers is ended in time",
        needs: Needs::Build,
        acts: 1,
        run: |g, act| Box::pin(circuits::unanswered(g, act)),
    },
    Play {
        rules: &["LINK-W-046", "REQ-W-001", "REQ-W-006"],
        what: "a request that stores sends 136 Forwards, each with a credit",
        needs: Needs::Store,
        acts: 1,
        run: |g, act| Box::pin(circuits::stored(g, act)),
    },
];

/// Rules that can be checked in a dialler, each with what is done about it.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sights = SIGHTS.iter().map(|one| (one.rules, one.what));
    let plays = PLAYS.iter().map(|one| (one.rules, one.what));
    sights.chain(plays).flat_map(|(rules, what)| rules.iter().map(move |rule| (*rule, what)))
}

/// Listens for whoever dials, until all of these rules (all that there are, where none is named) have a verdict, the time is over, or
/// `stop` comes. Verdicts are told as soon as they are there; all come back in the order of the tables. `None`: nobody came.
pub async fn listen(
    stage: Stage,
    rules: &[String],
    time: Duration,
    stop: impl Future<Output = ()>,
    rng: &mut dyn CryptoRng,
    tell: &mut dyn FnMut(&Finding),
) -> Option<Vec<Finding>> {
    let (stage, board) = (Rc::new(stage), Rc::new(Board::new(rules)));
    let local = LocalSet::new();
    let places = Arc::new(Semaphore::new(CONFORM_GUESTS_MAX));
    for at in 0..stage.doors().count() {
        let rng = ChaCha20Rng::from_seed(random_bytes(rng));
        local.spawn_local(receive((Rc::clone(&stage), Rc::clone(&board)), at, Arc::clone(&places), rng));
    }
    let deadline = Instant::now() + time;
    let watched = async {
        while timeout_at(deadline, board.changed.notified()).await.is_ok() {
            board.news().iter().for_each(&mut *tell);
            if board.is_done() {
                return;
            }
            if board.is_done_but_for_quiet() && !board.is_quiet_alone() {
                break;
            }
        }
        // What is left needs a link on which the peer has nothing to say, once what it is at has ended.
        let quiet = deadline.min(Instant::now() + TRANSFER_TIMEOUT + LINK_PADDING_AFTER + LATE);
        while !board.is_done() && timeout_at(quiet, board.changed.notified()).await.is_ok() {
            board.news().iter().for_each(&mut *tell);
        }
    };
    local
        .run_until(async {
            tokio::select! {
                () = watched => (),
                () = stop => (),
            }
        })
        .await;
    (!board.is_empty()).then(|| board.findings(stage.has_paths()))
}

/// Takes whoever dials this relay, as many at once as there are places.
async fn receive((stage, board): (Rc<Stage>, Rc<Board>), at: usize, places: Arc<Semaphore>, mut rng: ChaCha20Rng) {
    let Some(door) = stage.door(at) else { return };
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok(wire) = door.listener.accept().await.and_then(|(stream, _)| Wire::accepted(stream)) else {
            let _ = timeout(ACCEPT_BACKOFF, std::future::pending::<()>()).await;
            continue;
        };
        let own = ChaCha20Rng::from_seed(random_bytes(&mut rng));
        let guest = Guest::new(wire, at, (Rc::clone(&stage), Rc::clone(&board)), own);
        spawn_local(async move {
            let _place = place;
            guest.serve().await;
        });
    }
}

#[cfg(test)]
mod tests;
