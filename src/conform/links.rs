//! Checks of spec/link.md, and of descriptors as hellos show them (spec/membership.md).

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bench::{Bench, Halfway, cell, ends, goes_on, not_seen, plain, send_plain, told, wrong};
use super::{Judged, LATE, Unproven};
use crate::crypto::keys::DhSecret;
use crate::limits::{
    CLOCK_SKEW_S, DESCRIPTOR_LIFE_S, FRAME_LEN, HANDSHAKE_TIMEOUT, HANDSHAKES_PER_PREFIX_BURST,
    INBOUND_LINKS_PER_PREFIX_MAX, LINK_PADDING_AFTER,
};
use crate::link::{Frame, PAYLOAD1_LEN};
use crate::net::Clock;
use crate::probe::{Heard, Me, Opening, Session, Target, Wire, with_right_check};
use crate::time::Duration;
use crate::wire::cell::{Cell, Command};
use crate::wire::descriptor::{DESCRIPTOR_LEN, VerifiedDescriptor};
use crate::wire::hello::Hello;
use crate::wire::network::{Network, VERSIONS};

const OTHER: u32 = 6;

pub(super) async fn answered(bench: &mut Bench) -> Judged {
    let me = Me::client(&mut bench.rng);
    let Halfway { hello, .. } = bench.halfway(&me).await?;
    let Some(shown) = hello.descriptor else { return wrong("the second frame", "it shows no descriptor") };
    if !shown.claims_link_key(&bench.target.link_key) {
        return wrong("the second frame", "its descriptor names another link key");
    }
    match shown.verify(&bench.target.network, bench.now()) {
        Ok(_) => Ok(()),
        Err(refused) => wrong("the second frame", &refused.to_string()),
    }
}

/// Nothing may come until the handshake's time is over; then the end, between two frames.
async fn says_nothing(mut wire: Wire, since: Instant, what: &'static str) -> Judged {
    match wire.frame_until(since + HANDSHAKE_TIMEOUT + LATE).await {
        // A second for what passed between the connection and its being noted.
        Heard::Closed { partial: 0 } if Instant::now() + Duration::from_secs(1) < since + HANDSHAKE_TIMEOUT => {
            wrong(what, "it closes before the handshake's time is over")
        }
        Heard::Closed { partial: 0 } => Ok(()),
        Heard::Silent => wrong(what, "it does not close when the handshake's time is over"),
        other => wrong(what, &told(&other)),
    }
}

pub(super) async fn silence(bench: &mut Bench) -> Judged {
    let target = bench.target;
    let me = Me::client(&mut bench.rng);
    let elsewhere = Target { network: Network::named("another network", 0), ..target };
    let other_key = Target { link_key: DhSecret::generate(&mut bench.rng).public(), ..target };
    let mut payload = [0; PAYLOAD1_LEN];
    if let Some(last) = payload.last_mut() {
        *last = 1;
    }
    let secret = me.secret.clone();
    let no_key = |_| not_seen("the target's key is no key");
    let right = Opening::first(&target, &me, &mut bench.rng).map_err(no_key)?.1;
    let flipped = changed(right, 100);
    let mut garbage = [7; FRAME_LEN];
    with_right_check(&target, &mut garbage);
    let mut sealed = flipped;
    with_right_check(&target, &mut sealed);
    let rows = [
        ("a first frame with a bit flipped", flipped),
        ("a first frame with its last bit flipped", changed(right, FRAME_LEN - 1)),
        ("a changed first frame with a right mac1", sealed),
        ("garbage with a right mac1", garbage),
        ("a first frame of another network", Opening::first(&elsewhere, &me, &mut bench.rng).map_err(no_key)?.1),
        ("a first frame for another key", Opening::first(&other_key, &me, &mut bench.rng).map_err(no_key)?.1),
        (
            "a first frame with a payload",
            Opening::first_with(&target, &secret, &payload, &mut bench.rng).map_err(no_key)?.1,
        ),
    ];
    let mut judged = JoinSet::new();
    for (what, frame) in rows {
        let (mut wire, since) = (bench.wire().await?, Instant::now());
        wire.write(&frame).await.map_err(|why| not_seen(&why.to_string()))?;
        judged.spawn(says_nothing(wire, since, what));
    }
    while let Some(one) = judged.join_next().await {
        one.unwrap_or_else(|_| Err(not_seen("a part of the check failed")))?;
    }
    Ok(())
}

fn changed(mut frame: Frame, at: usize) -> Frame {
    if let Some(byte) = frame.get_mut(at) {
        *byte ^= 1;
    }
    frame
}

pub(super) async fn unfinished(bench: &mut Bench) -> Judged {
    let me = Me::client(&mut bench.rng);
    let frame = Opening::first(&bench.target, &me, &mut bench.rng);
    let frame = frame.map_err(|_| not_seen("the target's key is no key"))?.1;
    let (mut nothing, mut half, mut halfway) = (bench.wire().await?, bench.wire().await?, bench.halfway(&me).await?);
    half.write(frame.get(..FRAME_LEN / 2).unwrap_or_default()).await.map_err(|why| not_seen(&why.to_string()))?;
    let whole = [
        ("a connection that says nothing", &mut nothing),
        ("half a first frame", &mut half),
        ("a handshake without its third frame", &mut halfway.wire),
    ];
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT + LATE;
    for (what, wire) in whole {
        match wire.frame_until(deadline).await {
            Heard::Closed { partial: 0 } => (),
            other => return wrong(what, &told(&other)),
        }
    }
    Ok(())
}

pub(super) async fn too_many(bench: &mut Bench) -> Judged {
    let Some(from) = bench.fresh_source() else {
        return Err(not_seen("it takes more links from one prefix than this machine should open to a foreign node"));
    };
    let most = INBOUND_LINKS_PER_PREFIX_MAX.max(usize::try_from(HANDSHAKES_PER_PREFIX_BURST).unwrap_or(usize::MAX));
    let mut wires = Vec::new();
    for _ in 0..most + 8 {
        wires.push(bench.wire_from(Some(from)).await?);
    }
    // Those beyond are closed at once, long before the time of a handshake is over.
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT / 2;
    let mut closed = 0;
    for wire in &mut wires {
        closed += usize::from(matches!(wire.frame_until(deadline).await, Heard::Closed { partial: 0 }));
    }
    match closed {
        // In the meantime as many may have begun as belong to some seconds.
        0 => wrong(&format!("{} links from one /24", wires.len()), "none is closed"),
        _ if wires.len() - closed < most / 2 => {
            wrong(&format!("{} links from one /24", wires.len()), &format!("{closed} are closed"))
        }
        _ => Ok(()),
    }
}

pub(super) async fn third_sealed(bench: &mut Bench) -> Judged {
    let me = Me::client(&mut bench.rng);
    let Halfway { wire, mut sealed, hello } = bench.halfway(&me).await?;
    let right = sealed.seal(&me.hello_cell()).map_err(|_| not_seen("nothing can be sealed"))?;
    let mut session = Session { wire, sealed, hello };
    let _ = session.wire.write(&changed(right, 1_000)).await;
    ends(&mut session, "a changed third frame").await
}

pub(super) async fn third_is_no_hello(bench: &mut Bench) -> Judged {
    for (what, bytes) in [
        ("a Padding as third frame", plain(&Cell::of_link(Command::Padding))),
        ("a Destroy as third frame", plain(&cell(1, Command::Destroy, &[]))),
        ("no cell as third frame", [0xff; crate::limits::CELL_LEN]),
    ] {
        let me = Me::client(&mut bench.rng);
        let Halfway { wire, sealed, hello } = bench.halfway(&me).await?;
        let mut session = Session { wire, sealed, hello };
        send_plain(&mut session, &bytes).await;
        ends(&mut session, what).await?;
    }
    Ok(())
}

pub(super) async fn hello_unreadable(bench: &mut Bench) -> Judged {
    let rows: [(&str, &[u8]); 6] = [
        ("a hello of version 0", &[0, 1, 0]),
        ("a hello of versions 2 to 1", &[2, 1, 0]),
        ("a hello with 2 for a flag", &[1, 1, 2]),
        ("a hello with a byte behind it", &[1, 1, 0, 0, 0, 1]),
        ("a hello with a descriptor of zeros", &[1, 1, 1]),
        ("a hello of zeros", &[]),
    ];
    for (what, hello) in rows {
        let me = Me::client(&mut bench.rng);
        let mut session = bench.with_hello(&me, hello).await?;
        ends(&mut session, what).await?;
    }
    // Where things stand in a descriptor: spec/membership.md §1.
    for (what, at, byte) in [
        ("a descriptor with family 5 of address", 136, 5),
        ("a descriptor with a byte behind an IPv4 address", 145, 1),
        ("a descriptor with an effort of 4", 169, 4),
    ] {
        let (me, _) = bench.as_relay()?;
        let mut hello = me.hello.encode();
        if let Some(to) = hello.get_mut(3 + at) {
            *to = byte;
        }
        let mut session = bench.with_hello(&me, &hello).await?;
        ends(&mut session, what).await?;
    }
    Ok(())
}

pub(super) async fn versions(bench: &mut Bench) -> Judged {
    let above = VERSIONS.1.saturating_add(1);
    let me = Me::client(&mut bench.rng);
    let theirs = bench.halfway(&me).await?.hello.versions;
    if theirs.1 >= above {
        return Err(not_seen("it speaks versions that this program does not know"));
    }
    for (what, versions) in [("versions above its own", (above, above)), ("versions far above", (200, 255))] {
        let me = Me::client(&mut bench.rng);
        let hello = Hello { versions, descriptor: None }.encode();
        let mut session = bench.with_hello(&me, &hello).await?;
        ends(&mut session, what).await?;
    }
    // A range that holds one of its own is spoken.
    let hello = Hello { versions: (1, 255), descriptor: None }.encode();
    let mut session = bench.with_hello(&me, &hello).await?;
    goes_on(&mut session, OTHER, "versions 1 to 255").await
}

pub(super) async fn foreign_key(bench: &mut Bench) -> Judged {
    let (mut me, _) = bench.as_relay()?;
    me.secret = DhSecret::generate(&mut bench.rng);
    let hello = me.hello.encode();
    let mut session = bench.with_hello(&me, &hello).await?;
    ends(&mut session, "a descriptor of another link key").await
}

pub(super) async fn descriptor_refused(bench: &mut Bench) -> Judged {
    let now = Clock::unix().to_wire();
    let secs = |seconds: u64| u32::try_from(seconds).unwrap_or(u32::MAX);
    let (early, late) = (secs(CLOCK_SKEW_S + 600), secs(DESCRIPTOR_LIFE_S + 600));
    for (what, issued) in [
        ("a descriptor that was issued in the future", now.saturating_add(early)),
        ("a descriptor whose life is over", now.saturating_sub(late)),
    ] {
        let (me, _) = bench.as_relay()?;
        let shown = described(&me)?;
        let Some(relay) = &me.relay else { return Err(not_seen("no relay")) };
        let signed =
            crate::wire::descriptor::Descriptor { issued, ..*shown }.sign(&bench.target.network, &relay.identity);
        refused_hello(bench, &me, signed.as_bytes(), what).await?;
    }
    let (me, _) = bench.as_relay()?;
    let shown = described(&me)?;
    let Some(relay) = &me.relay else { return Err(not_seen("no relay")) };
    let elsewhere = Network { id: [7; 32], ..bench.target.network };
    let foreign = (*shown).sign(&elsewhere, &relay.identity);
    refused_hello(bench, &me, foreign.as_bytes(), "a descriptor of another network").await?;
    let mut unsolved = *shown;
    if let Some(byte) = unsolved.solution.y.last_mut() {
        *byte ^= 1;
    }
    let unsolved = unsolved.sign(&bench.target.network, &relay.identity);
    refused_hello(bench, &me, unsolved.as_bytes(), "a descriptor whose puzzle is not solved").await?;
    let mut forged = *shown.as_bytes();
    if let Some(byte) = forged.last_mut() {
        *byte ^= 1;
    }
    refused_hello(bench, &me, &forged, "a descriptor with a signature that does not fit").await
}

fn described(me: &Me) -> Result<VerifiedDescriptor, Unproven> {
    me.relay.as_ref().map(|relay| relay.descriptor.clone()).ok_or_else(|| not_seen("no relay"))
}

async fn refused_hello(bench: &mut Bench, me: &Me, descriptor: &[u8; DESCRIPTOR_LEN], what: &str) -> Judged {
    let hello = [&[VERSIONS.0, VERSIONS.1, 1][..], descriptor].concat();
    let mut session = bench.with_hello(me, &hello).await?;
    ends(&mut session, what).await
}

pub(super) async fn frames(bench: &mut Bench) -> Judged {
    let destroy = plain(&cell(9, Command::Destroy, &[]));
    let failed = |_| not_seen("nothing can be sealed");
    let mut session = bench.client().await?;
    let frame = session.sealed.seal(&destroy).map_err(failed)?;
    let _ = session.wire.write(&changed(frame, 2_063)).await;
    ends(&mut session, "a frame with a bit of its tag flipped").await?;

    let mut session = bench.client().await?;
    let frame = session.sealed.seal(&destroy).map_err(failed)?;
    let _ = session.wire.write(&frame).await;
    let _ = session.wire.write(&frame).await;
    ends(&mut session, "a frame sent twice").await?;

    let mut session = bench.client().await?;
    let _left_out = session.sealed.seal(&destroy).map_err(failed)?;
    let next = session.sealed.seal(&destroy).map_err(failed)?;
    let _ = session.wire.write(&next).await;
    ends(&mut session, "a frame left out").await
}

pub(super) async fn second_hello(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let me = Me::client(&mut bench.rng);
    send_plain(&mut session, &me.hello_cell()).await;
    ends(&mut session, "a second Hello").await
}

pub(super) async fn idle(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    goes_on(&mut session, OTHER, "a question").await?;
    let since = Instant::now();
    match session.any_cell(since + LINK_PADDING_AFTER + LATE).await {
        Heard::Came(cell) if cell.command() != Command::Padding => {
            wrong("an idle link", &format!("{:?} came", cell.command()))
        }
        Heard::Came(_) if Instant::now() < since + LINK_PADDING_AFTER / 2 => {
            wrong("an idle link", "a Padding came before half of its time")
        }
        Heard::Came(_) => Ok(()),
        Heard::Silent => wrong("an idle link", "no Padding came in its time"),
        other => wrong("an idle link", &told(&other)),
    }
}
