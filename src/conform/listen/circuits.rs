//! What a client is told that is wrong on a circuit that it builds, and what it sends when nothing is.

use tokio::time::Instant;

use super::circuit::Opened;
use super::guest::Guest;
use crate::conform::bench::{not_seen, told, wrong};
use crate::conform::{Judged, LATE, Unproven};
use crate::crypto::random_bytes;
use crate::limits::{
    ANSWER_LEN, BATCH_CHUNKS, BODY_LEN, CIRCUIT_ANSWER_TIMEOUT, CIRCUIT_DATA_LEN_MAX, CREDIT_MAX, CREDIT_START,
    CREDIT_STEP, REPLY0_DATA_LEN_MAX, SLOT_CELLS,
};
use crate::probe::{Heard, PATIENCE};
use crate::time::Duration;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::onion::ExitRequest;

/// How long an end is waited for that has to come at once; sooner than that of a circuit that nothing answers.
const ENDS: Duration = Duration::from_secs(3);
/// How long a sender without credit is looked at.
const HELD_BACK: Duration = Duration::from_secs(1);

fn circuit(guest: &mut Guest) -> Result<Opened, Unproven> {
    guest.circuit.take().ok_or_else(|| not_seen("no circuit came"))
}

fn changed(mut cell: Cell, at: usize) -> Cell {
    if let Some(byte) = cell.body_mut().get_mut(at) {
        *byte ^= 1;
    }
    cell
}

pub(super) async fn ended(guest: &mut Guest, _: usize) -> Judged {
    let mut circuit = circuit(guest)?;
    if matches!(circuit.request, ExitRequest::FetchChunks { .. }) {
        return Err(not_seen("a circuit that fetches"));
    }
    circuit.answer_all(guest).await?;
    guest.lets_go(circuit.number, ENDS).await?;
    guest.says_no_more(circuit.number, "a circuit that it has ended").await
}

pub(super) async fn reply_changed(guest: &mut Guest, act: usize) -> Judged {
    let mut circuit = circuit(guest)?;
    let (what, at) = match act {
        0 => ("a reply 0 with a changed e'", 3),
        1 => ("a reply 0 with a changed tag", 40),
        _ => ("a reply 0 with a changed last byte", BODY_LEN - 1),
    };
    let reply = changed(circuit.reply0(&[0; REPLY0_DATA_LEN_MAX])?, at);
    guest.send(&reply).await?;
    guest.destroys(circuit.number, ENDS, what).await
}

pub(super) async fn out_of_order(guest: &mut Guest, act: usize) -> Judged {
    let mut circuit = circuit(guest)?;
    if act == 0 {
        let early = circuit.cell(Command::Backward, &random_bytes::<BODY_LEN>(&mut guest.rng));
        guest.send(&early).await?;
        return guest.destroys(circuit.number, ENDS, "a Backward before reply 0").await;
    }
    let reply = circuit.reply0(&[0; REPLY0_DATA_LEN_MAX])?;
    guest.send(&reply).await?;
    guest.send(&reply).await?;
    guest.destroys(circuit.number, ENDS, "a second reply 0").await
}

pub(super) async fn backward_changed(guest: &mut Guest, act: usize) -> Judged {
    let mut circuit = circuit(guest)?;
    let reply = circuit.reply0(&[0; REPLY0_DATA_LEN_MAX])?;
    let rest = circuit.backward(&[0; ANSWER_LEN - REPLY0_DATA_LEN_MAX])?;
    let (what, at) = if act == 0 { ("a Backward with a changed tag", 0) } else { ("a changed Backward", BODY_LEN - 1) };
    guest.send(&reply).await?;
    guest.send(&changed(rest, at)).await?;
    guest.destroys(circuit.number, ENDS, what).await
}

pub(super) async fn destroyed(guest: &mut Guest, _: usize) -> Judged {
    let circuit = circuit(guest)?;
    let destroy = circuit.cell(Command::Destroy, &[0xff; 64]);
    guest.send(&destroy).await?;
    guest.says_no_more(circuit.number, "a circuit that a Destroy has ended").await
}

pub(super) async fn over_credited(guest: &mut Guest, _: usize) -> Judged {
    let circuit = circuit(guest)?;
    guest.send(&Cell::credit(CircuitId(circuit.number), CREDIT_MAX)).await?;
    guest.destroys(circuit.number, ENDS, "a Credit above the maximum").await
}

pub(super) async fn empty_credit(guest: &mut Guest, act: usize) -> Judged {
    let circuit = circuit(guest)?;
    let (what, body) =
        if act == 0 { ("a Credit of 0", [0, 0, 0, 0, 0]) } else { ("a Credit with a byte behind it", [0, 0, 0, 1, 1]) };
    let credit = circuit.cell(Command::Credit, &body);
    guest.send(&credit).await?;
    guest.destroys(circuit.number, ENDS, what).await
}

pub(super) async fn unanswered(guest: &mut Guest, _: usize) -> Judged {
    let circuit = circuit(guest)?;
    guest.destroys(circuit.number, CIRCUIT_ANSWER_TIMEOUT + LATE, "a circuit that nothing answers").await
}

pub(super) async fn stored(guest: &mut Guest, _: usize) -> Judged {
    let mut circuit = circuit(guest)?;
    let number = circuit.number;
    let reply = circuit.reply0(&[])?;
    guest.send(&reply).await?;
    let all = u32::try_from(BATCH_CHUNKS * SLOT_CELLS).unwrap_or(u32::MAX);
    let (mut came, mut granted) = (0, CREDIT_START);
    while came < all {
        while came < granted.min(all) {
            next_forward(guest, &mut circuit, came).await?;
            came += 1;
        }
        match guest.cell_of(number, Instant::now() + HELD_BACK).await {
            Heard::Silent => (),
            Heard::Came(cell) if cell.command() == Command::Forward && came == all => {
                return wrong("a request that stores", &format!("more than {all} Forwards came"));
            }
            Heard::Came(cell) if cell.command() == Command::Forward => {
                return wrong(&format!("{granted} credits"), "one more Forward came");
            }
            Heard::Came(cell) => return wrong("a request that stores", &format!("{:?} came", cell.command())),
            other => return Err(not_seen(&told(&other))),
        }
        guest.send(&Cell::credit(CircuitId(number), CREDIT_STEP)).await?;
        granted += CREDIT_STEP;
    }
    for _ in 0..BATCH_CHUNKS {
        let answer = circuit.backward(&[0; CIRCUIT_DATA_LEN_MAX])?;
        guest.send(&answer).await?;
    }
    guest.lets_go(number, ENDS).await
}

/// One more Forward, as long as it must be.
async fn next_forward(guest: &mut Guest, circuit: &mut Opened, came: u32) -> Judged {
    let what = "a request that stores";
    let cell = match guest.cell_of(circuit.number, Instant::now() + PATIENCE).await {
        Heard::Came(cell) if cell.command() == Command::Forward => cell,
        Heard::Came(cell) => return wrong(what, &format!("{:?} came after {came} Forwards", cell.command())),
        Heard::Silent => return wrong(what, &format!("nothing came after {came} Forwards")),
        other => return Err(not_seen(&told(&other))),
    };
    match circuit.forward(cell.body()) {
        Ok(data) if data.len() == CIRCUIT_DATA_LEN_MAX => Ok(()),
        Ok(data) => wrong(what, &format!("a Forward of {} bytes came", data.len())),
        Err(_) => wrong(what, "a Forward does not open"),
    }
}
