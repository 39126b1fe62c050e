//! Checks of spec/messages.md, and of the pages that members come in (spec/membership.md).

use tokio::time::Instant;

use super::bench::{Bench, answer, cell, ends, ends_by, goes_on, next, not_seen, send, told, wrong};
use super::{Judged, LATE, Unproven};
use crate::crypto::hash::blake3;
use crate::crypto::keys::NodeKey;
use crate::crypto::random_bytes;
use crate::keyspace::{Id, Location};
use crate::limits::{
    ASKS_PER_CLIENT_LINK_BURST, ASKS_PER_LINK_MAX, BODY_LEN, MEMBERS_MAX, MEMBERS_PAGE_MAX, MESSAGE_CELLS_MAX,
    MESSAGE_LEN_MAX, PARTIAL_ASK_TIMEOUT, PARTIAL_ASKS_BYTES_MAX, PARTIAL_ASKS_PER_LINK_BYTES_MAX,
};
use crate::probe::{Heard, PATIENCE, Session, circuit};
use crate::time::{Duration, UnixTime};
use crate::wire::cell::{CircuitId, Command};
use crate::wire::descriptor::{Fingerprint, SignedDescriptor};
use crate::wire::message::{Answer, Ask, cells_of};
use crate::wire::payment::Account;
use crate::wire::record::{ChunkBytes, ChunkName, Expiry, Value, ValueKind};
use crate::wire::statement::{Operation, Question, Statement, Verdict};

const OURS: u32 = 5;
const OTHER: u32 = 6;
/// How often a node may look for questions that have not come whole (spec/messages.md §1.2).
const LOOKED_FOR_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn numbers(bench: &mut Bench) -> Judged {
    let ask = Ask::sign_of_life().encode();
    let mut session = bench.client().await?;
    let theirs = CircuitId(circuit(OURS).0 & !(1 << 31));
    for cell in cells_of(theirs, Command::Ask, &ask).unwrap_or_default() {
        send(&mut session, &cell).await;
    }
    ends(&mut session, "a question under a number of the other end").await?;
    let mut session = bench.client().await?;
    let _circuit = bench.storing(&mut session, OURS).await?;
    let _ = session.send_message(OURS, Command::Ask, &ask).await;
    ends(&mut session, "a question under the number of an open circuit").await
}

pub(super) async fn lengths(bench: &mut Bench) -> Judged {
    let above = u32::try_from(MESSAGE_LEN_MAX + 1).unwrap_or(u32::MAX).to_be_bytes();
    let mut dirty = vec![0; BODY_LEN];
    dirty.iter_mut().zip([0, 0, 0, 2, 3, 0]).for_each(|(to, from)| *to = from);
    if let Some(last) = dirty.last_mut() {
        *last = 1;
    }
    let rows =
        [("one byte above the cap", above.to_vec()), ("all ones", vec![0xff; 4]), ("a byte behind the end", dirty)];
    for (what, body) in rows {
        let mut session = bench.relay().await?;
        send(&mut session, &cell(OURS, Command::Ask, &body)).await;
        ends(&mut session, &format!("a length of {what}")).await?;
    }
    Ok(())
}

/// A chunk of so many bytes, to be kept for a day, and where it belongs.
fn chunk(bench: &mut Bench, len: usize) -> (Ask, Question) {
    let (mut bytes, nonce) = (vec![0; len], bench.nonce());
    rand::Rng::fill_bytes(&mut bench.rng, &mut bytes);
    let expiry = Expiry::at_least(UnixTime(bench.now().0 + 86_400));
    let hash = blake3(&[&bytes]);
    let location = ChunkName { hash, index: 0 }.location();
    let value = Value::Hashed(ChunkBytes { hash, index: 0, expiry, bytes });
    let ask = Ask::Store { nonce, expected: None, value, account: Account::Anonymous(None) };
    (ask, Question { nonce, operation: Operation::Store, location })
}

pub(super) async fn mixed(bench: &mut Bench) -> Judged {
    let (one, other) = (chunk(bench, 6_000).0, chunk(bench, 6_000).0);
    let mut session = bench.relay().await?;
    let cells = |number: u32, ask: &Ask| cells_of(circuit(number), Command::Ask, &ask.encode()).unwrap_or_default();
    for (one, other) in cells(OURS, &one).iter().zip(&cells(OTHER, &other)) {
        send(&mut session, one).await;
        send(&mut session, other).await;
    }
    let mut waiting = vec![circuit(OURS), circuit(OTHER)];
    while !waiting.is_empty() {
        match next(&mut session, Instant::now() + PATIENCE).await {
            Heard::Came(cell) if cell.command() == Command::Answer && waiting.contains(&cell.circuit()) => {
                waiting.retain(|number| *number != cell.circuit());
            }
            Heard::Came(cell) => {
                return wrong("two questions, cell by cell in turn", &format!("{:?} came", cell.command()));
            }
            other => return wrong("two questions, cell by cell in turn", &told(&other)),
        }
    }
    Ok(())
}

/// The first cell of a question of as many cells as there may be.
fn first_of_many() -> Vec<u8> {
    u32::try_from(MESSAGE_LEN_MAX).unwrap_or(u32::MAX).to_be_bytes().to_vec()
}

pub(super) async fn too_many_open(bench: &mut Bench) -> Judged {
    let mut session = bench.relay().await?;
    let most = u32::try_from(ASKS_PER_LINK_MAX).unwrap_or(u32::MAX);
    for number in 0..most {
        send(&mut session, &cell(10_000 + number, Command::Ask, &first_of_many())).await;
    }
    send(&mut session, &cell(9_999, Command::Ask, &first_of_many())).await;
    ends(&mut session, &format!("{} unfinished questions", most + 1)).await
}

/// Sends so many cells of questions that are never whole.
async fn leaves_open(session: &mut Session, cells: usize) {
    let (each, mut number) = (MESSAGE_CELLS_MAX - 1, 20_000);
    for at in 0..cells {
        if at % each == 0 {
            number += 1;
        }
        let body = if at % each == 0 { first_of_many() } else { vec![1; BODY_LEN] };
        send(session, &cell(number, Command::Ask, &body)).await;
    }
}

pub(super) async fn bytes_open(bench: &mut Bench) -> Judged {
    let mut session = bench.relay().await?;
    let cells = PARTIAL_ASKS_PER_LINK_BYTES_MAX / BODY_LEN + 1;
    leaves_open(&mut session, cells).await;
    let what = format!("{cells} cells of unfinished questions");
    ends_by(&mut session, Instant::now() + PARTIAL_ASK_TIMEOUT / 2, &what).await?;
    // Behind the other, whose cells would count as well.
    bytes_open_in_all(bench).await
}

/// Links of which each holds less than it may, and all together more.
async fn bytes_open_in_all(bench: &mut Bench) -> Judged {
    let (one, all) = (PARTIAL_ASKS_PER_LINK_BYTES_MAX / BODY_LEN, PARTIAL_ASKS_BYTES_MAX / BODY_LEN);
    let others = all / one + 1;
    // The first holds a few more than each of the others; the last of all sends the cell that is too much.
    let each = all / (others + 1) + 1;
    let mut most = bench.relay().await?;
    let mut sessions = Vec::new();
    for _ in 0..others {
        sessions.push(bench.relay().await?);
    }
    let since = Instant::now();
    leaves_open(&mut most, each + 100).await;
    for session in &mut sessions {
        leaves_open(session, each).await;
    }
    if Instant::now() > since + PARTIAL_ASK_TIMEOUT * 3 / 4 {
        return Err(not_seen("this machine cannot send as much before the first of it is too old"));
    }
    let what = format!("{} cells of unfinished questions over {} links", each * (others + 1) + 100, others + 1);
    ends_by(&mut most, since + PARTIAL_ASK_TIMEOUT, &format!("{what}: the one with most")).await?;
    match sessions.last_mut() {
        Some(last) => goes_on(last, OURS, &format!("{what}: another")).await,
        None => Ok(()),
    }
}

pub(super) async fn never_whole(bench: &mut Bench) -> Judged {
    let (mut session, what) = (bench.relay().await?, "a question whose rest does not come");
    let since = Instant::now();
    send(&mut session, &cell(OURS, Command::Ask, &first_of_many())).await;
    ends_by(&mut session, since + PARTIAL_ASK_TIMEOUT + LOOKED_FOR_EVERY + LATE, what).await?;
    // A second for what passed on the way.
    if Instant::now() + Duration::from_secs(1) < since + PARTIAL_ASK_TIMEOUT {
        return wrong(what, "the link ends before the question's time is over");
    }
    Ok(())
}

pub(super) async fn stored_is_found(bench: &mut Bench) -> Judged {
    let mut session = bench.relay().await?;
    let (ask, question) = chunk(bench, 200);
    match answer(&mut session, OURS, &ask).await? {
        Answer::Stored { statement } if statement.verdict == Verdict::Stored => (),
        _ => return Err(Unproven::NotOffered("it keeps nothing of what it is handed here".to_owned())),
    }
    let Ask::Store { value, .. } = ask else { return Err(not_seen("no chunk")) };
    // With this nonce it must not be left out.
    let mut nonce = bench.nonce();
    if let Some(last) = nonce.0.last_mut() {
        *last &= 0xfe;
    }
    let find = |want_value| Ask::Find { kind: ValueKind::Hashed, location: question.location, nonce, want_value };
    match answer(&mut session, OTHER, &find(true)).await? {
        Answer::Found { statement, value: Some(found), .. } if found == value => {
            holds(bench, &statement, &Question { nonce, operation: Operation::Find, location: question.location })
        }
        _ => wrong("a Find of what it has stored", "the answer has not the value"),
    }
}

pub(super) async fn unreadable(bench: &mut Bench) -> Judged {
    let find = |kind: u8, flag: u8| [&[1, kind][..], &[7; 36], &[flag]].concat();
    let mut falling = vec![4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    falling.extend([0, 0, 2, 0, 0, 1]);
    let rows = [
        ("of no byte", Vec::new()),
        ("of kind 0", vec![0]),
        ("of kind 7", vec![7, 0]),
        ("that ends early", vec![3]),
        ("with a byte behind it", vec![3, 0, 0]),
        ("with 2 for a flag", find(0, 2)),
        ("with kind 2 of value", find(2, 0)),
        ("with fingerprints that do not ascend", falling),
    ];
    for (what, message) in rows {
        let mut session = bench.relay().await?;
        let _ = session.send_message(OURS, Command::Ask, &message).await;
        ends(&mut session, &format!("a question {what}")).await?;
    }
    Ok(())
}

pub(super) async fn long_of_client(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let (ask, _) = chunk(bench, 3_000);
    let _ = session.send_message(OURS, Command::Ask, &ask.encode()).await;
    ends(&mut session, "a client's question of two cells").await
}

pub(super) async fn many_of_client(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    // As many again: some are earned while they are sent.
    let count = 4 * ASKS_PER_CLIENT_LINK_BURST;
    let ask = Ask::sign_of_life().encode();
    for number in 0..count {
        let _ = session.send_message(100 + number, Command::Ask, &ask).await;
    }
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..=count {
        match next(&mut session, deadline).await {
            Heard::Came(cell) if cell.command() == Command::Answer => (),
            Heard::Closed { partial: 0 } => return Ok(()),
            other => return wrong(&format!("{count} questions of a client at once"), &told(&other)),
        }
    }
    wrong(&format!("{count} questions of a client at once"), "all are answered")
}

fn find_of(bench: &mut Bench) -> (Ask, Question) {
    let (location, nonce): (Location, _) = (Id(random_bytes(&mut bench.rng)), bench.nonce());
    let ask = Ask::Find { kind: ValueKind::Signed, location, nonce, want_value: true };
    (ask, Question { nonce, operation: Operation::Find, location })
}

fn differences_of(bench: &mut Bench) -> Ask {
    let salt = u64::from_be_bytes(random_bytes(&mut bench.rng));
    Ask::Differences { after: None, until: None, salt, held: Vec::new() }
}

pub(super) async fn not_for_clients(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let asks = [("Find", find_of(bench).0), ("Store", chunk(bench, 100).0), ("Differences", differences_of(bench))];
    for (number, (what, ask)) in (OURS..).zip(&asks) {
        match answer(&mut session, number, ask).await? {
            Answer::Refused => (),
            _ => return wrong(&format!("a client's {what}"), "it is answered"),
        }
    }
    Ok(())
}

/// A statement of the target on this question.
fn holds(bench: &Bench, statement: &Statement, question: &Question) -> Judged {
    if statement.signer != bench.own.key {
        return wrong("a statement", "it is signed by somebody else");
    }
    let verified = statement.verify(&bench.target.network, question, bench.now());
    verified.or_else(|_| wrong("a statement", "it does not hold for the question"))
}

pub(super) async fn find(bench: &mut Bench) -> Judged {
    let mut session = bench.relay().await?;
    let (ask, question) = find_of(bench);
    let Answer::Found { statement, value, .. } = answer(&mut session, OURS, &ask).await? else {
        return wrong("a relay's Find", "it is not answered by Found");
    };
    holds(bench, &statement, &question)?;
    match (statement.verdict, value) {
        (Verdict::Absent, None) | (Verdict::Present, _) => Ok(()),
        (verdict, _) => wrong("a relay's Find", &format!("it is answered {:?}", verdict.words())),
    }
}

pub(super) async fn store(bench: &mut Bench) -> Judged {
    let mut session = bench.relay().await?;
    let (ask, question) = chunk(bench, 200);
    match answer(&mut session, OURS, &ask).await? {
        Answer::Stored { statement } => holds(bench, &statement, &question)?,
        Answer::Refused => (),
        _ => return wrong("a relay's Store", "it is not answered by Stored or Refused"),
    }
    // What is not the chunk of its hash is nobody's.
    let (forged, _) = chunk(bench, 200);
    let Ask::Store { nonce, expected, value: Value::Hashed(chunk), account } = forged else {
        return Err(not_seen("no chunk"));
    };
    let value = Value::Hashed(ChunkBytes { hash: [9; 32], ..chunk });
    match answer(&mut session, OTHER, &Ask::Store { nonce, expected, value, account }).await? {
        Answer::Refused => Ok(()),
        _ => wrong("a Store of a chunk of another hash", "it is not Refused"),
    }
}

pub(super) async fn members(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let mut after: Option<NodeKey> = None;
    // A page has a key at least, so pages come to an end; a client's share allows so many questions.
    for number in 0..ASKS_PER_CLIENT_LINK_BURST.min(u32::try_from(MEMBERS_MAX / MEMBERS_PAGE_MAX).unwrap_or(u32::MAX)) {
        let Answer::Members { descriptors, more, .. } =
            answer(&mut session, 100 + number, &Ask::Members { after }).await?
        else {
            return wrong("a question for the members", "it is not answered by Members");
        };
        let Some(end) = Answer::page_end(&descriptors, more, after) else {
            return wrong("a page of members", "its keys do not ascend, or it is empty and promises more");
        };
        for descriptor in descriptors {
            let refused = descriptor.verify(&bench.target.network, bench.now()).err();
            refused.map_or(Ok(()), |why| wrong("a page of members", &why.to_string()))?;
        }
        if !more {
            return Ok(());
        }
        after = end;
    }
    Ok(())
}

pub(super) async fn sign_of_life(bench: &mut Bench) -> Judged {
    for mut session in [bench.client().await?, bench.relay().await?] {
        is_empty_page(&mut session).await?;
    }
    Ok(())
}

async fn is_empty_page(session: &mut Session) -> Result<(), Unproven> {
    match answer(session, OURS, &Ask::sign_of_life()).await? {
        Answer::Members { descriptors, more: false, .. } if descriptors.is_empty() => Ok(()),
        _ => wrong("a sign of life", "the answer is no empty last page"),
    }
}

pub(super) async fn differences(bench: &mut Bench) -> Judged {
    let mut session = bench.relay().await?;
    let ask = differences_of(bench);
    let Answer::Members { descriptors, more, .. } = answer(&mut session, OURS, &ask).await? else {
        return wrong("a question for differences", "it is not answered by Members");
    };
    if Answer::page_end(&descriptors, more, None).is_none() {
        return wrong("a question for differences", "the answer is no page");
    }
    let Ask::Differences { salt, .. } = ask else { return Err(not_seen("no question")) };
    // Of what is held already nothing comes again.
    let mut held = fingerprints(bench, descriptors, salt)?;
    held.sort_unstable();
    held.dedup();
    let again = Ask::Differences { after: None, until: None, salt, held: held.clone() };
    let Answer::Members { descriptors, .. } = answer(&mut session, OTHER, &again).await? else {
        return wrong("a question for differences", "it is not answered by Members");
    };
    // Meanwhile others may have come.
    let others = fingerprints(bench, descriptors, salt)?;
    if others.iter().any(|one| held.contains(one)) {
        return wrong("a question for differences", "what is held comes again");
    }
    Ok(())
}

fn fingerprints(bench: &Bench, page: Vec<SignedDescriptor>, salt: u64) -> Result<Vec<Fingerprint>, Unproven> {
    let of = |descriptor: SignedDescriptor| match descriptor.verify(&bench.target.network, bench.now()) {
        Ok(descriptor) => Ok(descriptor.fingerprint(salt)),
        Err(why) => wrong("a page of differences", &why.to_string()),
    };
    page.into_iter().map(of).collect()
}
