//! Links: what waits, and what is taken before a peer has proven who it is.

use bauta::limits::{FRAME_LEN, LINK_QUEUE_CELLS_MAX};
use bauta::link::{DownReason, Link, LinkEvent, Params, Timing};
use bauta::time::Instant;
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::hello::Hello;
use bauta::wire::network::VERSIONS;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{dh, network, relay};

fn params(number: u32) -> Params {
    let hello = Hello { versions: VERSIONS, descriptor: Some(relay(number).to_signed()) };
    Params { network: network(), secret: dh(number), hello, timing: Timing::default() }
}

/// CVE-2024-32984 (yamux): what a peer made one send, by asking without reading, was queued without end. Here one peer that does not
/// read could take all memory of a relay, with cells of any kind, those that control the link among them.
#[test]
fn regression_what_waits_for_a_peer_that_does_not_read_is_capped_whatever_it_is() {
    let commands = [
        Command::Build,
        Command::Reply0,
        Command::Forward,
        Command::Backward,
        Command::Credit,
        Command::Ask,
        Command::Answer,
        Command::Destroy,
    ];
    for command in commands {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut link = Link::accept(params(1), &mut rng, Instant::ZERO);
        let circuit = |number: usize| CircuitId(1 + u32::try_from(number).expect("small"));
        let waits = (0..=LINK_QUEUE_CELLS_MAX).take_while(|number| {
            // Each on a circuit of its own: a Destroy takes away what waits on its own circuit.
            link.push(Cell::new(circuit(*number), command)).is_ok()
        });
        assert_eq!(waits.count(), LINK_QUEUE_CELLS_MAX, "{command:?}");
    }
}

/// Veilid before 0.1.9: what came was decompressed before it was authenticated, so that few bytes from anybody took all memory. Here nothing
/// that a peer sends before it is authenticated is more than one frame, or becomes more: nothing is compressed at all.
#[test]
fn regression_nothing_grows_before_it_is_authenticated_and_nothing_is_compressed() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut link = Link::accept(params(1), &mut rng, Instant::ZERO);
    // A link takes whole frames alone, and after the first that is not for it none is looked at.
    for fill in 0..=255 {
        let told = link.handle_frame(Instant::ZERO, &[fill; FRAME_LEN]);
        assert!(matches!(told, Ok(None)) && link.is_mute() && !link.has_frame());
    }
    let mut dialling = Link::dial(params(2), dh(1).public(), &mut rng, Instant::ZERO).expect("a key of no small order");
    let told: Result<Option<LinkEvent>, DownReason> = dialling.handle_frame(Instant::ZERO, &[1; FRAME_LEN]);
    assert_eq!(told, Err(DownReason::Identity));
    let lock = include_str!("../../Cargo.lock");
    let names: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(names.contains(&"bauta") && names.contains(&"snow"), "the lock file was misread");
    let compresses =
        ["flate", "deflate", "zlib", "miniz", "gzip", "zstd", "lz4", "lzma", "snap", "brotli", "bzip", "xz2"];
    let found: Vec<_> = names.iter().filter(|name| compresses.iter().any(|word| name.contains(word))).collect();
    assert!(found.is_empty(), "{found:?}");
}
