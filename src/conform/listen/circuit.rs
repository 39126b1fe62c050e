//! A circuit that the peer builds over relays that are all played here: its packet taken apart hop by hop, and cells back. It must not
//! know what is done wrong on it.

use super::Sight;
use super::board::Once;
use super::guest::Guest;
use super::stage::Stage;
use crate::conform::bench::not_seen;
use crate::conform::{Judged, Unproven};
use crate::crypto::{CryptoRng, Forged};
use crate::limits::{ANSWER_LEN, BODY_LEN, HOPS_CLIENT_MIN, HOPS_MAX, KEY_LEN, REPLAY_BUCKET_S, REPLY0_DATA_LEN_MAX};
use crate::net::Clock;
use crate::onion::{ExitHop, MiddleHop, Role, peel};
use crate::time::UnixTime;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::network::SUITE;
use crate::wire::onion::ExitRequest;

type Body = [u8; BODY_LEN];

/// The layers of a circuit, guard first.
pub(super) struct Opened {
    pub(super) number: u32,
    pub(super) request: ExitRequest,
    middle: Vec<MiddleHop>,
    exit: ExitHop,
}

/// A packet taken apart.
struct Packet {
    middle: Vec<MiddleHop>,
    exit: ExitHop,
    request: Vec<u8>,
    path: Vec<usize>,
    times: Vec<UnixTime>,
}

fn taken_apart(stage: &Stage, first: usize, cell: &Cell, rng: &mut dyn CryptoRng) -> Result<Packet, String> {
    let (mut suite, mut hint, mut body) = (cell.suite(), cell.hint(), Box::new(*cell.body()));
    let (mut at, mut middle, mut path, mut times) = (first, Vec::new(), Vec::new(), Vec::new());
    // More than may be, so that a path that is too long is told as that.
    for hop in 1..=2 * HOPS_MAX {
        let relay = stage.door(at).and_then(|door| door.relay()).ok_or("there is no such relay")?;
        if suite != SUITE {
            return Err(format!("hop {hop}: suite {suite}"));
        }
        let opened = peel(&relay.onion.secrets(suite, hint), &body, rng);
        let opened = opened.map_err(|Forged| format!("hop {hop}: it does not open, or its hint is another's"))?;
        path.push(at);
        times.push(opened.time);
        match opened.role {
            Role::Exit { request, hop: exit } => return Ok(Packet { middle, exit, request, path, times }),
            Role::Middle { next, suite: next_suite, hint: next_hint, body: next_body, hop: own } => {
                at = stage
                    .place_of(&next)
                    .ok_or_else(|| format!("hop {hop}: its next relay is none that it was told of"))?;
                (suite, hint, body) = (next_suite, next_hint, next_body);
                middle.push(own);
            }
        }
    }
    Err(format!("it has more than {} hops", 2 * HOPS_MAX))
}

/// Times are those of a bucket, this one or one beside it.
fn are_rounded(times: &[UnixTime]) -> Result<(), String> {
    let now = Clock::unix().rounded(REPLAY_BUCKET_S);
    let is_right =
        |time: &UnixTime| time.0.is_multiple_of(REPLAY_BUCKET_S) && time.0.abs_diff(now.0) <= REPLAY_BUCKET_S;
    if times.iter().all(is_right) { Ok(()) } else { Err("a time is not of this bucket".to_owned()) }
}

fn is_a_path(path: &[usize]) -> Result<(), String> {
    if !(HOPS_CLIENT_MIN..=HOPS_MAX).contains(&path.len()) {
        return Err(format!("a path of {}", path.len()));
    }
    let mut sorted = path.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() == path.len() { Ok(()) } else { Err("a relay is in a path twice".to_owned()) }
}

/// The last of a path is its exit.
fn has_no_entrance(stage: &Stage, path: &[usize]) -> Result<(), String> {
    let exit = path.last().and_then(|at| stage.door(*at));
    if exit.is_some_and(|door| door.is_entrance) { Err("a bootstrap is the exit".to_owned()) } else { Ok(()) }
}

const fn nonce_of(request: &ExitRequest) -> &[u8] {
    match request {
        ExitRequest::Find { nonce, .. }
        | ExitRequest::Put { nonce, .. }
        | ExitRequest::FetchChunks { nonce, .. }
        | ExitRequest::PutChunks { nonce, .. }
        | ExitRequest::Look { nonce, .. } => &nonce.0,
    }
}

impl Opened {
    /// Takes a Build apart, and holds it against the rules.
    pub(super) fn of(guest: &mut Guest, cell: &Cell) -> Option<Self> {
        let number = cell.circuit().0;
        guest.opened(number);
        let stage = std::rc::Rc::clone(&guest.stage);
        let packet = taken_apart(&stage, guest.place(), cell, &mut guest.rng);
        let ephemeral = cell.body().get(..KEY_LEN).unwrap_or_default();
        let is_fresh = guest.board.is_new(Once::Ephemeral, ephemeral);
        let fresh = if is_fresh { Ok(()) } else { Err("two packets have one ephemeral key".to_owned()) };
        guest.saw(Sight::Packets, packet.as_ref().map(drop).map_err(Clone::clone).and(fresh));
        let packet = packet.ok()?;
        guest.saw(Sight::Times, are_rounded(&packet.times));
        guest.saw(Sight::Paths, is_a_path(&packet.path));
        guest.saw(Sight::Entrances, has_no_entrance(&stage, &packet.path));
        let request = ExitRequest::decode(&packet.request);
        guest.saw(Sight::Requests, request.as_ref().map(drop).map_err(|why| format!("it cannot be read: {why}")));
        let request = request.ok()?;
        let is_fresh = guest.board.is_new(Once::Nonce, nonce_of(&request));
        guest.saw(Sight::Nonces, if is_fresh { Ok(()) } else { Err("two requests have one nonce".to_owned()) });
        Some(Self { number, request, middle: packet.middle, exit: packet.exit })
    }

    /// Whether it stores chunks: cells follow.
    pub(super) const fn stores(&self) -> bool {
        matches!(self.request, ExitRequest::PutChunks { .. })
    }

    /// Reply 0 with this data, as the client gets it.
    pub(super) fn reply0(&mut self, data: &[u8]) -> Result<Cell, Unproven> {
        let mut body = self.exit.seal_reply0(data).map_err(not_sealed)?;
        for hop in self.middle.iter_mut().rev() {
            body = hop.wrap_reply0(&body).map_err(not_sealed)?;
        }
        Ok(self.cell(Command::Reply0, &body))
    }

    /// The next Backward with this data.
    pub(super) fn backward(&mut self, data: &[u8]) -> Result<Cell, Unproven> {
        let mut body = self.exit.seal_backward(data).map_err(not_sealed)?;
        for hop in self.middle.iter_mut().rev() {
            body = hop.wrap_backward(&body).map_err(not_sealed)?;
        }
        Ok(self.cell(Command::Backward, &body))
    }

    /// The data of the next Forward.
    pub(super) fn forward(&mut self, body: &Body) -> Result<Vec<u8>, Forged> {
        let mut body = *body;
        for hop in &mut self.middle {
            body = hop.peel_forward(&body)?;
        }
        self.exit.open_forward(&body)
    }

    /// A cell of it with this body.
    pub(super) fn cell(&self, command: Command, body: &[u8]) -> Cell {
        crate::conform::bench::cell_under(CircuitId(self.number), command, body)
    }

    /// Answers the guest's circuit: nobody has anything. What is more than two cells is not served.
    pub(super) async fn answered(guest: &mut Guest) {
        let Some(mut circuit) = guest.circuit.take() else { return };
        let ended = circuit.cell(Command::Destroy, &[]);
        let served = match circuit.request {
            ExitRequest::Find { .. } | ExitRequest::Put { .. } | ExitRequest::Look { .. } => {
                circuit.answer_all(guest).await
            }
            ExitRequest::FetchChunks { .. } | ExitRequest::PutChunks { .. } => guest.send(&ended).await,
        };
        // Who has closed is seen by what comes next.
        drop(served);
    }

    /// Both cells of an empty answer.
    pub(super) async fn answer_all(&mut self, guest: &mut Guest) -> Judged {
        let answer = [0; ANSWER_LEN];
        let (first, rest) = answer.split_at(REPLY0_DATA_LEN_MAX);
        let (first, rest) = (self.reply0(first)?, self.backward(rest)?);
        guest.send(&first).await?;
        guest.send(&rest).await
    }
}

fn not_sealed(_: Forged) -> Unproven {
    not_seen("nothing can be sealed")
}
