//! Chunks of parity: any so many chunks of a group as it has of content bring all of them back. Knows no keys and no hashes.
//! Source: spec/content.md §2.4.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::limits::CHUNK_LEN;

/// Fewer chunks than it takes, or not of a chunk's length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too few chunks of a group, or not of a chunk's length")]
pub struct ParityRefused;

impl From<reed_solomon_simd::Error> for ParityRefused {
    fn from(_: reed_solomon_simd::Error) -> Self {
        Self
    }
}

/// The `parity` chunks that follow from these chunks of content, each [`CHUNK_LEN`] bytes.
///
/// # Errors
/// [`ParityRefused`] for no chunks, too many, or of other lengths.
pub fn protect(data: &[Vec<u8>], parity: usize) -> Result<Vec<Vec<u8>>, ParityRefused> {
    let mut encoder = ReedSolomonEncoder::new(data.len(), parity, CHUNK_LEN)?;
    for chunk in data {
        encoder.add_original_shard(chunk)?;
    }
    let made = encoder.encode()?;
    Ok(made.recovery_iter().map(<[u8]>::to_vec).collect())
}

/// The chunks of content that are not among those at hand. `chunks`: those of content, then those of parity, `None` where one is
/// missing; `data`: how many are of content. Gives (place, bytes).
///
/// # Errors
/// [`ParityRefused`] when fewer than `data` are there.
pub fn rebuild(chunks: &[Option<&[u8]>], data: usize) -> Result<Vec<(usize, Vec<u8>)>, ParityRefused> {
    let (content, parity) = chunks.split_at_checked(data).ok_or(ParityRefused)?;
    if chunks.iter().flatten().count() < data {
        return Err(ParityRefused);
    }
    if content.iter().all(Option::is_some) {
        return Ok(Vec::new());
    }
    let mut decoder = ReedSolomonDecoder::new(data, parity.len(), CHUNK_LEN)?;
    for (place, chunk) in content.iter().enumerate() {
        if let Some(chunk) = chunk {
            decoder.add_original_shard(place, chunk)?;
        }
    }
    for (place, chunk) in parity.iter().enumerate() {
        if let Some(chunk) = chunk {
            decoder.add_recovery_shard(place, chunk)?;
        }
    }
    let made = decoder.decode()?;
    Ok(made.restored_original_iter().map(|(place, bytes)| (place, bytes.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::layout::parity_for;

    fn group(data: usize, seed: u8) -> Vec<Vec<u8>> {
        let byte = |at: usize, place: usize| (at * 31 + place * 7 + usize::from(seed) * 13 + at / 251).to_le_bytes()[0];
        (0..data).map(|place| (0..CHUNK_LEN).map(|at| byte(at, place)).collect()).collect()
    }

    #[test]
    fn too_few_chunks_and_other_lengths_are_refused() {
        let data = group(3, 1);
        let parity = protect(&data, 2).unwrap();
        let all: Vec<Option<&[u8]>> = data.iter().chain(&parity).map(|chunk| Some(&chunk[..])).collect();
        let mut few = all.clone();
        (few[0], few[1], few[3]) = (None, None, None);
        assert_eq!(rebuild(&few, 3), Err(ParityRefused));
        assert_eq!(rebuild(&all, 6), Err(ParityRefused));
        assert_eq!(rebuild(&all, 3), Ok(Vec::new()), "nothing is missing");
        assert_eq!(protect(&[], 2), Err(ParityRefused));
        assert_eq!(protect(&[vec![1; CHUNK_LEN], vec![1; CHUNK_LEN - 2]], 2), Err(ParityRefused));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_so_many_chunks_as_there_are_of_content_bring_it_back(
            data in 1_usize..64, seed in any::<u8>(), order in any::<u64>(),
        ) {
            let content = group(data, seed);
            let parity = protect(&content, parity_for(data)).unwrap();
            let all: Vec<&[u8]> = content.iter().chain(&parity).map(|chunk| &chunk[..]).collect();
            let mut places: Vec<usize> = (0..all.len()).collect();
            places.sort_by_key(|place| crate::crypto::hash::blake3(&[&order.to_be_bytes(), &place.to_be_bytes()]));
            let kept = &places[..data];
            let have: Vec<_> = all.iter().enumerate().map(|(at, bytes)| kept.contains(&at).then_some(*bytes)).collect();
            let made = rebuild(&have, data).unwrap();
            let missing = (0..data).filter(|at| !kept.contains(at)).count();
            prop_assert_eq!(made.len(), missing);
            prop_assert!(made.iter().all(|(place, bytes)| bytes == &content[*place]));
        }
    }
}
