//! Lengths and bytes of files, and transfers whose operations are ended by hand. Files through real nodes: `scenario/transfers.rs`.

use rand::SeedableRng;

use super::*;
use crate::limits::{CHUNK_HOLDERS, CHUNK_TRIES_MAX, TRANSFER_CIRCUITS_MAX};
use crate::request::{Counts, Success};
use crate::time::UnixTime;
use crate::wire::network::Network;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn outcome(result: Result<Success, Refused>) -> Outcome {
    Outcome { result, counts: Counts { asked: 1, ..Counts::default() } }
}

/// A file of so many bytes, published: `answer` ends each operation, told how often it was tried. How it ended.
fn publish(len: u64, mut answer: impl FnMut(usize) -> Result<Success, Refused>) -> (File, Stand, usize) {
    let (network, mut rng) = (Network::named("test", 0), ChaCha20Rng::seed_from_u64(1));
    let mut file = File::new(len, &mut rng).unwrap();
    let mut publishing = Publishing::new(&file).unwrap();
    let (mut most, mut under_way) = (0, Vec::new());
    for number in 0.. {
        let mut making = Making { network: &network, now: NOW, life_s: 86_400, rng: &mut rng };
        while let Some(wish) = publishing.next(&mut file, &mut making) {
            under_way.push(wish);
        }
        most = most.max(under_way.len());
        if under_way.is_empty() {
            break;
        }
        let (id, _) = under_way.remove(0);
        if let stand @ Stand::Over(_) = publishing.on_outcome(id, &outcome(answer(number))) {
            return (file, stand, most);
        }
    }
    let stand = publishing.stand();
    (file, stand, most)
}

fn stored() -> Result<Success, Refused> {
    Ok(Success::ChunksStored { copies_min: CHUNK_HOLDERS })
}

#[test]
fn lengths_lie_evenly_by_their_logarithm() {
    assert_eq!(lengths(4, (1.0e3, 1.6e4)), [1_414, 2_828, 5_656, 11_313]);
    assert!(lengths(0, (1.0, 2.0)).is_empty());
}

#[test]
fn the_bytes_of_a_file_follow_from_its_number_and_end_at_its_length() {
    let file = File::new(70_001, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let lens = [0, 1, 2, u64::MAX].map(|chunk| file.chunk(chunk).len());
    assert_eq!(lens, [CHUNK_LEN, 70_001 - CHUNK_LEN, 0, 0]);
    assert_eq!(file.chunk(0), file.chunk(0));
    assert_ne!(file.chunk(0)[..4_465], file.chunk(1)[..]);
}

#[test]
fn all_levels_are_published_few_batches_at_a_time_then_the_root() {
    // 16 + 21 chunks of content, and 1 + 7 of their hashes.
    let (file, stand, most) = publish(1 << 20, |_| stored());
    let groups: Vec<_> = file.groups.iter().map(|group| (group.data, group.chunks.len())).collect();
    assert_eq!((groups, stand, most), (vec![(16, 37), (1, 8)], Stand::Over(Ending::Done), TRANSFER_CIRCUITS_MAX));
}

#[test]
fn a_batch_is_tried_a_few_times_and_what_stays_partly_stored_gets_no_root() {
    let partly = || Err(Refused::Partly { copies: 1, asked: CHUNK_HOLDERS });
    let few = |number| if number + 1 < CHUNK_TRIES_MAX { partly() } else { stored() };
    // One chunk of content and seven of parity are two batches.
    assert_eq!(publish(60_000, few).1, Stand::Over(Ending::Done));
    let mut asked = 0;
    let all = |_| {
        asked += 1;
        partly()
    };
    assert_eq!(publish(60_000, all).1, Stand::Over(Ending::Partly));
    assert_eq!(asked, 2 * CHUNK_TRIES_MAX);
    assert_eq!(publish(60_000, |_| Err(Refused::GuardsGone)).1, Stand::Over(Ending::Privacy));
    // The root is put anew as often.
    let root = |number: usize| if number < 2 || number + 1 >= 2 + CHUNK_TRIES_MAX { stored() } else { partly() };
    assert_eq!(publish(60_000, root).1, Stand::Over(Ending::Done));
    assert_eq!(publish(60_000, |number| if number < 2 { stored() } else { partly() }).1, Stand::Over(Ending::Partly));
}

#[test]
fn a_root_that_is_unreachable_is_asked_for_a_few_times() {
    let file = File::new(60_000, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let mut reading = Reading::default();
    for left in (0..CHUNK_TRIES_MAX).rev() {
        let (id, _) = reading.next(&file).unwrap();
        assert!(reading.next(&file).is_none(), "one at a time");
        let stand = reading.on_outcome(id, outcome(Err(Refused::Unreachable)), &file);
        assert_eq!(stand, if left > 0 { Stand::UnderWay } else { Stand::Over(Ending::Unreachable) });
    }
}
