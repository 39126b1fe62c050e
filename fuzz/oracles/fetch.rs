//! Content through chunks and back: cut, grouped, protected and sealed; then read in any order, with chunks that are wanting, changed or in each
//! other's place. What comes out is what was put in, each chunk once; and a level is given up only where too few of a group came.

use std::collections::BTreeMap;

use bauta::content::{
    ChunkAt, Fetch, FetchBatch, FetchRefused, Grouping, Layout, Level, PublicationSecret, open_chunk, protect, rebuild,
};
use bauta::crypto::hash::blake3;
use bauta::limits::{BATCH_CHUNKS, CHUNK_LEN};

use super::script::Script;

const CHUNKS_MAX: usize = 3;
const STEPS_MAX: usize = 64;

struct Published {
    content: Vec<u8>,
    level: Level,
    secret: PublicationSecret,
    /// Name and bytes, by index.
    chunks: Vec<([u8; 32], Vec<u8>)>,
}

fn publish(len: usize, fill: u8) -> Published {
    let content: Vec<u8> = (0..len).map(|at| fill ^ (at / 7 + at / CHUNK_LEN).to_le_bytes()[0]).collect();
    let secret = PublicationSecret::from_bytes([fill; 32]);
    let (mut grouping, mut chunks) = (Grouping::default(), Vec::new());
    content.chunks(CHUNK_LEN).for_each(|chunk| grouping.push(chunk.to_vec()));
    grouping.end(true);
    while let Some(group) = grouping.next_group() {
        chunks.extend(group.seal(&secret, 0).expect("whole chunks").into_iter().map(|one| (one.hash, one.bytes)));
    }
    let level = Layout::of(u64::try_from(len).expect("small")).expect("short").levels()[0];
    assert_eq!(u64::try_from(chunks.len()), Ok(level.chunks()));
    for (index, (hash, bytes)) in (0..).zip(&chunks) {
        assert_eq!(*hash, blake3(&[bytes]));
        assert!(open_chunk(&secret, ChunkAt { level: 0, index }, bytes.clone()).is_ok());
        assert!(open_chunk(&secret, ChunkAt { level: 1, index }, bytes.clone()).is_err());
        assert!(open_chunk(&secret, ChunkAt { level: 0, index: index + 1 }, bytes.clone()).is_err());
    }
    Published { content, level, secret, chunks }
}

/// Any so many chunks of a group as there are of content bring it back.
fn parity(script: &mut Script<'_>) {
    let (data, extra) = (1 + script.below(4), 1 + script.below(4));
    let content: Vec<Vec<u8>> = (0..data).map(|_| vec![script.byte(); CHUNK_LEN]).collect();
    let parity = protect(&content, extra).expect("whole chunks");
    assert_eq!(parity.len(), extra);
    let all: Vec<&Vec<u8>> = content.iter().chain(&parity).collect();
    let there = script.byte();
    let left: Vec<Option<&[u8]>> =
        all.iter().enumerate().map(|(at, chunk)| (there >> at & 1 != 0).then_some(&chunk[..])).collect();
    let enough = left.iter().flatten().count() >= data;
    match rebuild(&left, data) {
        Ok(back) => {
            assert!(enough);
            assert!(back.iter().all(|(at, chunk)| content[*at] == *chunk));
            assert_eq!(back.len(), left[..data].iter().filter(|one| one.is_none()).count());
        }
        Err(_) => assert!(!enough),
    }
}

/// Checks one input. With `fault`, as it would be where a chunk in another's place is taken for it.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    if script.byte() & 3 == 3 {
        return parity(&mut script);
    }
    let len = 1 + (usize::from(script.u16()) * 4) % (CHUNKS_MAX * CHUNK_LEN);
    let published = publish(len, script.byte());
    let level = published.level;
    let hashes = published.chunks.iter().map(|(hash, _)| *hash).collect();
    let wanted = level.chunks_of(&(0..level.len));
    let mut fetch = Fetch::new(published.secret.clone(), (0, level), hashes, wanted.clone());
    let part = |chunk: u64| {
        let start = usize::try_from(chunk).expect("few") * CHUNK_LEN;
        &published.content[start.min(len)..(start + CHUNK_LEN).min(len)]
    };
    let (mut got, mut given) = (BTreeMap::new(), std::collections::BTreeSet::new());
    let had = script.byte();
    for chunk in wanted.clone().filter(|chunk| had >> chunk & 1 != 0) {
        let mut bytes = part(chunk).to_vec();
        let is_good = script.byte() & 3 != 3 || bytes.is_empty();
        if !is_good {
            script.change(&mut bytes);
        }
        assert_eq!(fetch.take(chunk, &bytes), is_good);
        if is_good {
            got.insert(chunk, bytes);
        }
    }
    let mut under_way: Vec<FetchBatch> = Vec::new();
    for _ in 0..STEPS_MAX {
        while under_way.len() < 3
            && let Some(batch) = fetch.next_batch()
        {
            assert!((1..=BATCH_CHUNKS).contains(&batch.hashes.len()));
            under_way.push(batch);
        }
        if under_way.is_empty() {
            break;
        }
        let batch = under_way.swap_remove(script.below(under_way.len()));
        let lot = script.byte();
        let answers = batch.hashes.iter().enumerate().map(|(at, hash)| {
            let found = published.chunks.iter().position(|(name, _)| name == hash).expect("its own");
            // Of an input that is over all come.
            (lot >> (2 * at) & 3 != 3).then(|| {
                given.insert(found);
                published.chunks[found].1.clone()
            })
        });
        let mut answers: Vec<Option<Vec<u8>>> = answers.collect();
        if fault {
            answers.reverse();
        }
        let told = fetch.on_batch(batch.id, answers);
        while let Some(piece) = fetch.poll_piece() {
            assert_eq!(piece.bytes, part(piece.chunk));
            assert!(got.insert(piece.chunk, piece.bytes).is_none(), "given out once");
        }
        if let Err(refused) = told {
            let FetchRefused::TooFew { have, need, .. } = refused else { panic!("{refused}") };
            return assert!(have < need && have <= given.len() + got.len());
        }
    }
    if fetch.is_done() {
        assert!(wanted.filter(|chunk| !part(*chunk).is_empty()).all(|chunk| got.contains_key(&chunk)));
        assert_eq!(got.into_values().flatten().collect::<Vec<u8>>(), published.content);
    }
}
