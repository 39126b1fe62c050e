//! Checks of spec/onion.md and of what an exit sends (spec/requests.md), with the target as the only hop, or as the first of two.

use tokio::time::Instant;

use super::bench::{Bench, cell, destroyed, goes_on, not_seen, send, told, wrong};
use super::{Judged, Unproven};
use crate::limits::{
    ANSWER_LEN, CIRCUIT_DATA_LEN_MAX, CREDIT_MAX, CREDIT_STEP, REPLAY_BUCKET_S, REPLY0_DATA_LEN_MAX, ROUTING_LEN,
};
use crate::onion::{BUILD_TEXT_LEN, Built, Reply0, build_layer};
use crate::probe::{Heard, Me, PATIENCE, Session, circuit};
use crate::time::{Instant as Moment, Now, UnixTime};
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::onion::{ExitAnswer, Routing};
use crate::wire::record::ValueKind;

const OURS: u32 = 5;
const OTHER: u32 = 6;
/// A relay that is in no membership: nobody listens there.
const NOWHERE: ([u8; 4], u16) = ([127, 129, 255, 1], 9);

fn build_cell(number: CircuitId, built: &Built) -> Cell {
    Cell::build(number, built.suite, built.hint, built.body)
}

/// Destroy alone must come, and the link go on.
async fn refused(session: &mut Session, number: u32, cell: &Cell, what: &str) -> Judged {
    send(session, cell).await;
    destroyed(session, number, what).await
}

pub(super) async fn served(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let request = bench.find();
    let built = bench.packet(&request)?;
    let what = "a Find";
    let (mut circuit, mut data) = match session.build(OURS, built, PATIENCE).await {
        Heard::Came(Some(Reply0::Exit(circuit, data))) => (circuit, data),
        Heard::Came(Some(Reply0::NotReached { .. })) => return wrong(what, "an exit says that it is not reached"),
        Heard::Came(None) => return Err(Unproven::NotOffered("it serves no requests: Destroy".to_owned())),
        other => return wrong(what, &told(&other)),
    };
    match session.backward(OURS, &mut circuit, Instant::now() + PATIENCE).await {
        Heard::Came(Some(rest)) => data.extend(rest),
        Heard::Came(None) => return wrong(what, "Destroy came before its second cell"),
        other => return wrong(what, &told(&other)),
    }
    if data.len() != ANSWER_LEN || REPLY0_DATA_LEN_MAX + CIRCUIT_DATA_LEN_MAX != ANSWER_LEN {
        return wrong(what, &format!("{} bytes came in two cells", data.len()));
    }
    if ExitAnswer::decode(&data, ValueKind::Signed).is_err() {
        return wrong(what, "the answer cannot be read");
    }
    goes_on(&mut session, OTHER, "after an answer").await.or_else(|unproven| match unproven {
        // The exit may have ended its circuit meanwhile.
        Unproven::Wrong(seen) if seen.ends_with("Destroy came") => Ok(()),
        other => Err(other),
    })
}

pub(super) async fn wrong_number(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let request = bench.find();
    let built = bench.packet(&request)?;
    let theirs = CircuitId(circuit(OURS).0 & !(1 << 31));
    send(&mut session, &build_cell(theirs, &built)).await;
    match session.cell(PATIENCE).await {
        Heard::Came(cell) if cell.command() == Command::Destroy && cell.circuit() == theirs => (),
        Heard::Came(cell) => {
            return wrong("a Build under a number of the other end", &format!("{:?} came", cell.command()));
        }
        other => return wrong("a Build under a number of the other end", &told(&other)),
    }
    goes_on(&mut session, OTHER, "after a Build under a number of the other end").await
}

pub(super) async fn wrong_suite(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let request = bench.find();
    for (number, suite) in [(10, 0), (11, 2), (12, 255)] {
        let built = Built { suite, ..bench.packet(&request)? };
        refused(&mut session, number, &build_cell(circuit(number), &built), &format!("a Build of suite {suite}"))
            .await?;
    }
    // Two keys may be in use, with two hints: of all 256 others fit neither. A few are tried.
    let mut refusals = 0;
    for number in 20..24 {
        let built = bench.packet(&request)?;
        let hint = built.hint.wrapping_add(u8::try_from(number * 10).unwrap_or(77));
        send(&mut session, &build_cell(circuit(number), &Built { hint, ..built })).await;
        let came = session.cell_of(number, Instant::now() + PATIENCE).await;
        refusals += usize::from(matches!(came, Heard::Came(cell) if cell.command() == Command::Destroy));
    }
    if refusals < 3 {
        return wrong("a Build of another hint", "it is not refused");
    }
    goes_on(&mut session, OTHER, "after Builds of other suites and hints").await
}

pub(super) async fn changed(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let request = bench.find();
    for (number, (what, at)) in
        (10..).zip([("ephemeral key", 3), ("tag", 40), ("ciphertext", 48), ("last byte", 2_039)])
    {
        let mut built = bench.packet(&request)?;
        if let Some(byte) = built.body.get_mut(at) {
            *byte ^= 1;
        }
        let what = format!("a Build whose {what} was changed");
        refused(&mut session, number, &build_cell(circuit(number), &built), &what).await?;
    }
    goes_on(&mut session, OTHER, "after Builds that were changed").await
}

/// A layer that opens, with this routing and this behind it.
async fn layer_refused(
    (bench, session): (&mut Bench, &mut Session),
    number: u32,
    routing: [u8; ROUTING_LEN],
    rest: [u8; 2],
    what: &str,
) -> Judged {
    let mut text = [0; BUILD_TEXT_LEN];
    text.iter_mut().zip(routing.into_iter().chain(rest)).for_each(|(to, from)| *to = from);
    let built = build_layer(&bench.target.network, &bench.own, &text, &mut bench.rng);
    let built = built.map_err(|_| not_seen("no packet could be built"))?;
    refused(session, number, &build_cell(circuit(number), &built), what).await
}

pub(super) async fn routing(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let time = bench.now().rounded(REPLAY_BUCKET_S);
    let rows = [
        ("routing of kind 0", 0, 0),
        ("routing of kind 3", 0, 3),
        ("an exit's routing with a next relay", 1, 9),
        ("an exit's routing with a suite", 25, 1),
        ("an exit's routing with a hint", 26, 1),
        ("routing with a byte that has no meaning", 31, 1),
    ];
    for (number, (what, at, byte)) in (10..).zip(rows) {
        let mut routing = Routing::Exit { time }.encode();
        if let Some(to) = routing.get_mut(at) {
            *to = byte;
        }
        layer_refused((&mut *bench, &mut session), number, routing, [0, 0], what).await?;
    }
    goes_on(&mut session, OTHER, "after routing without a meaning").await
}

pub(super) async fn request_too_long(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let routing = Routing::Exit { time: bench.now().rounded(REPLAY_BUCKET_S) }.encode();
    let room = u16::try_from(BUILD_TEXT_LEN - ROUTING_LEN - 2).unwrap_or(u16::MAX);
    for (number, len) in [(10, room + 1), (11, u16::MAX)] {
        let what = format!("a request of {len} bytes in its frame");
        layer_refused((&mut *bench, &mut session), number, routing, len.to_be_bytes(), &what).await?;
    }
    goes_on(&mut session, OTHER, "after requests beyond their frames").await
}

pub(super) async fn unknown_next(bench: &mut Bench) -> Judged {
    let now = Now { instant: Moment::ZERO, unix: bench.now() };
    let stranger = Me::relay(&bench.target.network, NOWHERE.into(), now, &mut bench.rng);
    let stranger =
        stranger.and_then(|me| me.relay).ok_or_else(|| not_seen("the identity puzzle is too dear for a check"))?;
    let mut session = bench.client().await?;
    let (own, request) = (bench.own.clone(), bench.find());
    let rows = [("an unknown next relay", stranger.descriptor), ("itself as the next relay", own.clone())];
    for (number, (what, next)) in (10..).zip(rows) {
        let built = bench.build(&[own.clone(), next], &request, now.unix)?;
        match session.build(number, built, PATIENCE).await {
            Heard::Came(Some(Reply0::NotReached { hops: 1 })) => (),
            Heard::Came(Some(_)) => return wrong(what, "it is answered"),
            Heard::Came(None) => return wrong(what, "Destroy came without its word that nothing is reached"),
            other => return wrong(what, &told(&other)),
        }
        destroyed(&mut session, number, what).await?;
    }
    goes_on(&mut session, OTHER, "after an unknown next relay").await
}

pub(super) async fn wrong_time(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let (own, request, now) = (bench.own.clone(), bench.find(), bench.now().0);
    for (number, (what, at)) in
        (10..).zip([("an hour ago", now - 6 * REPLAY_BUCKET_S), ("an hour ahead", now + 6 * REPLAY_BUCKET_S)])
    {
        let built = bench.build(core::slice::from_ref(&own), &request, UnixTime(at))?;
        refused(&mut session, number, &build_cell(circuit(number), &built), &format!("a Build of {what}")).await?;
    }
    goes_on(&mut session, OTHER, "after Builds of other times").await
}

pub(super) async fn replayed(bench: &mut Bench) -> Judged {
    let (mut session, mut elsewhere) = (bench.client().await?, bench.client().await?);
    let request = bench.find();
    let built = bench.packet(&request)?;
    let again = |number: u32, built: (u8, u8, [u8; crate::limits::BODY_LEN])| {
        Cell::build(circuit(number), built.0, built.1, built.2)
    };
    let copy = (built.suite, built.hint, built.body);
    if !matches!(session.build(OURS, built, PATIENCE).await, Heard::Came(Some(_))) {
        return Err(not_seen("a Build was not answered the first time"));
    }
    refused(&mut session, 10, &again(10, copy), "a Build sent again").await?;
    refused(&mut elsewhere, 11, &again(11, copy), "a Build sent again over another link").await
}

pub(super) async fn unreadable(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let twice = [&[3][..], &[7; 16], &[0, 2], &[9; 32], &[0], &[9; 32], &[0]].concat();
    let rows = [
        ("of no byte", Vec::new()),
        ("of kind 0", vec![0]),
        ("of kind 8", vec![8; 40]),
        ("that ends early", vec![1; 20]),
        ("with a byte behind it", vec![1; 38]),
        ("for one chunk twice", twice),
    ];
    for (number, (what, request)) in (10..).zip(rows) {
        let built = bench.packet(&request)?;
        refused(&mut session, number, &build_cell(circuit(number), &built), &format!("a request {what}")).await?;
    }
    goes_on(&mut session, OTHER, "after requests that cannot be read").await
}

pub(super) async fn changed_forward(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let mut storing = bench.storing(&mut session, OURS).await?;
    let body = storing.seal_forward(&[0; CIRCUIT_DATA_LEN_MAX], &mut bench.rng);
    let mut body = body.map_err(|_| not_seen("nothing can be sealed"))?;
    if let Some(byte) = body.get_mut(100) {
        *byte ^= 1;
    }
    send(&mut session, &cell(OURS, Command::Forward, &body)).await;
    destroyed(&mut session, OURS, "a changed Forward").await?;
    goes_on(&mut session, OTHER, "after a changed Forward").await
}

pub(super) async fn short_forward(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let mut storing = bench.storing(&mut session, OURS).await?;
    let body = storing.seal_forward(&[0; 100], &mut bench.rng).map_err(|_| not_seen("nothing can be sealed"))?;
    send(&mut session, &cell(OURS, Command::Forward, &body)).await;
    destroyed(&mut session, OURS, "a Forward of a hundred bytes").await?;
    goes_on(&mut session, OTHER, "after a short Forward").await
}

pub(super) async fn credited(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let mut storing = bench.storing(&mut session, OURS).await?;
    for _ in 0..CREDIT_STEP {
        let body = storing.seal_forward(&[0; CIRCUIT_DATA_LEN_MAX], &mut bench.rng);
        let body = body.map_err(|_| not_seen("nothing can be sealed"))?;
        send(&mut session, &cell(OURS, Command::Forward, &body)).await;
    }
    match session.cell_of(OURS, Instant::now() + PATIENCE).await {
        Heard::Came(cell) if cell.command() == Command::Credit => match cell.credit_count() {
            Ok(count) if count == CREDIT_STEP => Ok(()),
            Ok(count) => wrong(&format!("{CREDIT_STEP} Forwards"), &format!("a Credit of {count} came")),
            Err(_) => wrong(&format!("{CREDIT_STEP} Forwards"), "a Credit that cannot be read came"),
        },
        Heard::Came(cell) => wrong(&format!("{CREDIT_STEP} Forwards"), &format!("{:?} came", cell.command())),
        other => wrong(&format!("{CREDIT_STEP} Forwards"), &told(&other)),
    }
}

pub(super) async fn over_credited(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let _storing = bench.storing(&mut session, OURS).await?;
    send(&mut session, &Cell::credit(circuit(OURS), CREDIT_MAX)).await;
    destroyed(&mut session, OURS, "a Credit above the maximum").await?;
    goes_on(&mut session, OTHER, "after a Credit above the maximum").await
}
