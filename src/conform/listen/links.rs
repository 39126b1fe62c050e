//! What a dialler is told that is wrong: in the handshake, in frames, in cells, in answers.

use tokio::time::Instant;

use super::guest::Guest;
use crate::conform::bench::{cell_under, not_seen, plain, told, wrong};
use crate::conform::{AT_ONCE, Judged, LATE};
use crate::crypto::random_bytes;
use crate::limits::{CELL_LEN, HANDSHAKE_TIMEOUT, LINK_ANSWER_MAX, MESSAGE_LEN_MAX};
use crate::link::PAYLOAD2_LEN;
use crate::net::Clock;
use crate::probe::{Heard, Me, NOBODYS_ADDRESS};
use crate::time::{Instant as Moment, Now};
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::hello::Hello;
use crate::wire::message::Ask;
use crate::wire::network::VERSIONS;

/// A number that the accepting end may open, and one that the dialler may.
const OURS: CircuitId = CircuitId(7);
const THEIRS: CircuitId = CircuitId(super::guest::DIALLER_BIT | 7);

/// Nothing may come any more, and the connection end before this.
async fn hangs_up(guest: &mut Guest, by: Instant, what: &str) -> Judged {
    match guest.wire.frame_until(by).await {
        Heard::Closed { partial: 0 } => Ok(()),
        Heard::Silent => wrong(what, "the handshake goes on"),
        other => wrong(what, &told(&other)),
    }
}

pub(super) async fn second_changed(guest: &mut Guest, act: usize) -> Judged {
    let hello = guest.door()?.me.hello.encode();
    let (_, mut frame) = guest.greet(&Guest::payload(&hello)).await?;
    let (what, at) =
        if act == 0 { ("a second frame of another e", 3) } else { ("a second frame with a changed tag", 2_063) };
    if let Some(byte) = frame.get_mut(at) {
        *byte ^= 1;
    }
    guest.write(&frame).await?;
    hangs_up(guest, Instant::now() + AT_ONCE, what).await
}

/// A second frame with this payload must end the handshake, without a third.
async fn refused(guest: &mut Guest, payload: &[u8; PAYLOAD2_LEN], what: &str) -> Judged {
    let (_, frame) = guest.greet(payload).await?;
    guest.write(&frame).await?;
    hangs_up(guest, Instant::now() + AT_ONCE, what).await
}

pub(super) async fn hello_unreadable(guest: &mut Guest, act: usize) -> Judged {
    let mut payload = Guest::payload(&guest.door()?.me.hello.encode());
    if act == 0 {
        if let Some(last) = payload.last_mut() {
            *last = 1;
        }
        return refused(guest, &payload, "a second frame with a byte behind its hello").await;
    }
    refused(guest, &Guest::payload(&[2, 1, 0]), "a hello of versions 2 to 1").await
}

pub(super) async fn versions(guest: &mut Guest, _: usize) -> Judged {
    let above = VERSIONS.1.saturating_add(100);
    let hello = Hello { versions: (above, above), ..guest.door()?.me.hello.clone() };
    let (greeted, frame) = guest.greet(&Guest::payload(&hello.encode())).await?;
    guest.write(&frame).await?;
    let what = "versions that it does not speak";
    if guest.third(greeted).await.is_err() {
        return wrong(what, "no hello comes: this end does not learn its versions");
    }
    guest.ends(what).await
}

pub(super) async fn other_key(guest: &mut Guest, act: usize) -> Judged {
    if act == 0 {
        let hello = Hello { versions: VERSIONS, descriptor: None };
        return unused(guest, &Guest::payload(&hello.encode()), "a relay that shows no descriptor").await;
    }
    let hello = stranger(guest)?.encode();
    unused(guest, &Guest::payload(&hello), "a descriptor of another link key").await
}

/// What a relay says of itself that is nowhere.
fn stranger(guest: &mut Guest) -> Result<Hello, crate::conform::Unproven> {
    let now = Now { instant: Moment::ZERO, unix: Clock::unix() };
    let relay = Me::relay(&guest.stage.network(), NOBODYS_ADDRESS, now, &mut guest.rng);
    relay.map(|me| me.hello).ok_or_else(|| not_seen("no relay"))
}

pub(super) async fn does_not_hold(guest: &mut Guest, act: usize) -> Judged {
    let network = guest.stage.network();
    let mut payload = Guest::payload(&guest.door()?.me.hello.encode());
    if act == 0 {
        // The last byte of its signature.
        if let Some(byte) = payload.get_mut(3 + crate::wire::descriptor::DESCRIPTOR_LEN - 1) {
            *byte ^= 1;
        }
        return unused(guest, &payload, "a descriptor with a signature that does not fit").await;
    }
    let relay = guest.door()?.relay().ok_or_else(|| not_seen("no relay"))?;
    let elsewhere = crate::wire::network::Network { id: [7; 32], ..network };
    let foreign = (*relay.descriptor).sign(&elsewhere, &relay.identity);
    let hello = Hello { versions: VERSIONS, descriptor: Some(foreign.to_signed()) };
    unused(guest, &Guest::payload(&hello.encode()), "a descriptor of another network").await
}

/// A link with this second frame must end. A hello may come before: it is sent before the other is believed.
async fn unused(guest: &mut Guest, payload: &[u8; PAYLOAD2_LEN], what: &str) -> Judged {
    let (greeted, frame) = guest.greet(payload).await?;
    guest.write(&frame).await?;
    guest.expect(greeted);
    let (deadline, mut is_greeted) = (Instant::now() + AT_ONCE, false);
    loop {
        match guest.cell(deadline).await {
            Heard::Closed { .. } => return Ok(()),
            Heard::Came(cell) if cell.command() == Command::Hello && !is_greeted => is_greeted = true,
            Heard::Came(cell) => return wrong(what, &format!("the link is used: {:?} came", cell.command())),
            Heard::Silent => return wrong(what, "the link goes on"),
            other => return wrong(what, &told(&other)),
        }
    }
}

pub(super) async fn unanswered(guest: &mut Guest, _: usize) -> Judged {
    let since = Instant::now();
    drop(guest.first().await?);
    hangs_up(guest, since + HANDSHAKE_TIMEOUT + LATE, "a first frame that is not answered").await
}

pub(super) async fn frames(guest: &mut Guest, act: usize) -> Judged {
    if act == 1 {
        return reflected(guest).await;
    }
    guest.up().await?;
    let padding = plain(&Cell::of_link(Command::Padding));
    let mut frame = guest.seal(&padding)?;
    let what = match act {
        0 => {
            if let Some(byte) = frame.get_mut(1_000) {
                *byte ^= 1;
            }
            "a changed frame"
        }
        2 => {
            frame = guest.seal(&padding)?;
            "a frame left out"
        }
        3 => {
            guest.write(&frame).await?;
            "a frame sent twice"
        }
        _ => {
            frame = random_bytes(&mut guest.rng);
            "garbage in the place of a frame"
        }
    };
    guest.write(&frame).await?;
    guest.ends(what).await
}

/// What it sent comes back to it.
async fn reflected(guest: &mut Guest) -> Judged {
    let hello = guest.door()?.me.hello.encode();
    let (greeted, frame) = guest.greet(&Guest::payload(&hello)).await?;
    guest.write(&frame).await?;
    let Heard::Came(third) = guest.wire.frame(HANDSHAKE_TIMEOUT).await else {
        return Err(not_seen("no third frame"));
    };
    guest.expect(greeted);
    guest.took(&third)?;
    guest.write(&third).await?;
    guest.ends("its own third frame sent back").await
}

pub(super) async fn second_hello(guest: &mut Guest, _: usize) -> Judged {
    guest.up().await?;
    let bytes = guest.door()?.me.hello_cell();
    guest.send_bytes(&bytes).await?;
    guest.ends("a Hello after the handshake").await
}

pub(super) async fn meaningless(guest: &mut Guest, act: usize) -> Judged {
    let rows: [(&str, [u8; 8]); 4] = [
        ("a cell of command 0", [0x80, 0, 0, 7, 0, 0, 0, 0]),
        ("a cell of command 255", [0x80, 0, 0, 7, 255, 0, 0, 0]),
        ("circuit 0 of a Destroy", [0, 0, 0, 0, 5, 0, 0, 0]),
        ("a last byte of the header", [0x80, 0, 0, 7, 5, 0, 0, 1]),
    ];
    let Some((what, header)) = rows.get(act) else { return Err(not_seen("no such act")) };
    guest.up().await?;
    let mut bytes = [0; CELL_LEN];
    bytes.iter_mut().zip(header).for_each(|(to, from)| *to = *from);
    guest.send_bytes(&bytes).await?;
    guest.ends(what).await
}

pub(super) async fn padding(guest: &mut Guest, _: usize) -> Judged {
    guest.up().await?;
    let mut dirty = Cell::of_link(Command::Padding);
    dirty.body_mut().fill(0xff);
    guest.send(&Cell::of_link(Command::Padding)).await?;
    guest.send(&dirty).await?;
    guest.stays("after two Paddings").await
}

pub(super) async fn of_nothing(guest: &mut Guest, _: usize) -> Judged {
    guest.up().await?;
    for command in [Command::Reply0, Command::Backward, Command::Destroy, Command::Credit, Command::Answer] {
        guest.send(&cell_under(THEIRS, command, &[0, 0, 0, 1])).await?;
    }
    guest.stays("cells of a number that is not open").await
}

/// On a link of a client.
pub(super) async fn asked(guest: &mut Guest, act: usize) -> Judged {
    let (what, command) = match act {
        0 => ("a question to a client", Command::Ask),
        1 => ("a Build to a client", Command::Build),
        _ => ("a Forward to a client", Command::Forward),
    };
    let mut cell = cell_under(OURS, command, &[0, 0, 0, 2, 3, 0]);
    if command == Command::Build {
        cell = Cell::build(OURS, 1, 1, random_bytes(&mut guest.rng));
    }
    guest.send(&cell).await?;
    guest.ends(what).await
}

pub(super) async fn unreadable(guest: &mut Guest, act: usize) -> Judged {
    let Some(number) = guest.asked.take() else { return Err(not_seen("nothing was asked")) };
    let above = u32::try_from(MESSAGE_LEN_MAX + 1).unwrap_or(u32::MAX).to_be_bytes();
    let (what, body): (_, Vec<u8>) = match act {
        0 => ("an answer of kind 9", vec![0, 0, 0, 1, 9]),
        1 => ("an answer with a byte behind it", vec![0, 0, 0, 2, 0, 0]),
        _ => ("an answer that is longer than may be", above.to_vec()),
    };
    guest.send(&cell_under(CircuitId(number), Command::Answer, &body)).await?;
    guest.ends(what).await
}

pub(super) async fn silent(guest: &mut Guest, _: usize) -> Judged {
    let what = match (guest.asked.take(), guest.circuit.take()) {
        (_, Some(_)) => "a Build that nothing answers",
        (Some(_), None) => "a question that nothing answers",
        (None, None) => return Err(not_seen("nothing was asked")),
    };
    let deadline = Instant::now() + LINK_ANSWER_MAX + LATE;
    loop {
        match guest.cell(deadline).await {
            Heard::Came(cell) if cell.command() == Command::Ask => {
                if guest.question(&cell).is_some_and(|ask| ask == Ask::sign_of_life()) {
                    break;
                }
            }
            Heard::Came(_) => (),
            Heard::Silent => return wrong(what, "no sign of life is asked for"),
            other => return wrong(what, &format!("no sign of life is asked for: {}", told(&other))),
        }
    }
    let deadline = Instant::now() + LINK_ANSWER_MAX + LATE;
    loop {
        match guest.cell(deadline).await {
            Heard::Closed { .. } => return Ok(()),
            Heard::Came(_) => (),
            other => return wrong("a sign of life that nothing answers", &told(&other)),
        }
    }
}
