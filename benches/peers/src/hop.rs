//! One hop's work on a packet: Bauta's first cell of a circuit beside a Sphinx packet of the same length, in turn.

#[path = "../../world/mod.rs"]
mod world;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use bauta::limits::BODY_LEN;
use bauta::onion::{Role, build, peel};
use sphinx_packet::constants::{DESTINATION_ADDRESS_LENGTH, IDENTIFIER_LENGTH, NODE_ADDRESS_LENGTH};
use sphinx_packet::crypto::{PrivateKey, PublicKey};
use sphinx_packet::header::{HEADER_SIZE, delays};
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::{ProcessedPacketData, SphinxPacket, SphinxPacketBuilder};
use world::{NOW, network, path, rng};

use crate::turns::Row;

/// Turns; each side runs once in one, so that what interrupts a run does not touch the median.
const TURNS: usize = 8_000;

/// Microseconds.
pub(crate) struct Hops {
    pub(crate) rows: [Row; 3],
}

pub(crate) fn measure() -> Result<Hops> {
    eprintln!("one hop: {TURNS} turns");
    let (mut rng, mut second) = (rng(), rng());
    let (path, secrets) = path(&mut rng);
    let body = build(&network(), &path, b"request", NOW, &mut rng)?.body;
    let (packet, key) = sphinx()?;
    let inner = [9; BODY_LEN];
    let mut whole = || -> Result<()> {
        let Role::Middle { hop, body, .. } = peel(&secrets, black_box(&body), &mut rng)?.role else {
            return Err(anyhow!("the first of three"));
        };
        black_box((hop.wrap_reply0(black_box(&inner))?, body));
        Ok(())
    };
    let mut alone = || -> Result<()> {
        black_box(peel(&secrets, black_box(&body), &mut second)?);
        Ok(())
    };
    let mut process = || -> Result<()> {
        let processed = SphinxPacket::from_bytes(black_box(&packet))?.process(black_box(&key))?;
        ensure!(matches!(black_box(processed.data), ProcessedPacketData::ForwardHop { .. }), "the first of three");
        Ok(())
    };

    let mut rows = ["Bauta: peel, with reply", "Bauta: peel alone", "sphinx-packet: process"].map(Row::new);
    for _ in 0..TURNS {
        let times = [time(&mut whole)?, time(&mut alone)?, time(&mut process)?];
        rows.iter_mut().zip(times).for_each(|(row, time)| row.add(time.as_secs_f64() * 1e6));
    }
    for row in &mut rows {
        row.add_rate(1e6 / row.median());
    }
    Ok(Hops { rows })
}

/// A packet over three hops, as long as the body of one of Bauta's cells, and what opens it at the first.
fn sphinx() -> Result<(Vec<u8>, PrivateKey)> {
    let keys = [1, 2, 3].map(|seed| PrivateKey::from([seed; 32]));
    let node = |key| Node::new(NodeAddressBytes::from_bytes([5; NODE_ADDRESS_LENGTH]), PublicKey::from(key));
    let route = keys.each_ref().map(node);
    let target = DestinationAddressBytes::from_bytes([3; DESTINATION_ADDRESS_LENGTH]);
    let packet = SphinxPacketBuilder::new().with_payload_size(BODY_LEN - HEADER_SIZE).build_packet(
        [7; 1_000],
        &route,
        &Destination::new(target, [4; IDENTIFIER_LENGTH]),
        &delays::generate_from_average_duration(route.len(), Duration::from_millis(10)),
    )?;
    let bytes = packet.to_bytes();
    ensure!(bytes.len() == BODY_LEN, "a packet of {} bytes", bytes.len());
    let [first, ..] = keys;
    Ok((bytes, first))
}

fn time(run: &mut impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}
