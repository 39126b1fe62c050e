//! Chunks of parity: any so many chunks of a group as it has of content bring all of them back. Knows no keys and no hashes.
//! Source: spec/content.md §2.4.

use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{LowRateDecoder, LowRateEncoder, RateDecoder, RateEncoder};

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
    // The low rate by its name: of the library's two codes the faster one is its default, and that is no part of a format.
    let mut encoder = LowRateEncoder::new(data.len(), parity, CHUNK_LEN, DefaultEngine::new(), None)?;
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
    let mut decoder = LowRateDecoder::new(content.len(), parity.len(), CHUNK_LEN, DefaultEngine::new(), None)?;
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
    use crate::limits::GROUP_CHUNKS;

    /// What the elements' bits stand for: polynomials, of whose coefficients bit i is that of xⁱ (spec/content.md §2.4).
    const BASIS: [u32; 16] = [
        0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900, 0xfdb8, 0xfb34,
        0xff38, 0x991e,
    ];
    /// x¹⁶ + x⁵ + x³ + x² + 1.
    const MODULUS: u32 = 0x1_002d;

    /// The elements' field by its logarithms, written from the page and not from the library.
    struct Field {
        logs: Vec<usize>,
        elements: Vec<u16>,
    }

    impl Field {
        fn new() -> Self {
            let stands_for = |element: u16| {
                let parts = BASIS.iter().enumerate().filter(|(bit, _)| element >> bit & 1 == 1);
                parts.fold(0, |sum, (_, part)| sum ^ part)
            };
            let element_of: std::collections::BTreeMap<u32, u16> =
                (0..=u16::MAX).map(|element| (stands_for(element), element)).collect();
            let (mut logs, mut elements, mut power) = (vec![0; 1 << 16], Vec::new(), 1);
            for log in 0..usize::from(u16::MAX) {
                let element = element_of[&power];
                logs[usize::from(element)] = log;
                elements.push(element);
                power <<= 1;
                power ^= if power >> 16 == 1 { MODULUS } else { 0 };
            }
            Self { logs, elements }
        }

        fn log(&self, of: u16) -> usize {
            self.logs[usize::from(of)]
        }

        /// The value at a point of the polynomial with these values at these points: Lagrange's formula.
        fn value(&self, known: &[(u16, u16)], at: u16) -> u16 {
            let product = |point: u16| {
                let others = known.iter().map(|(other, _)| other ^ point).filter(|difference| *difference != 0);
                others.map(|difference| self.log(difference)).sum::<usize>()
            };
            let term = |(point, value): &(u16, u16)| {
                let below = (product(*point) + self.log(at ^ point)) % self.elements.len();
                let log = self.log(*value) + product(at) + self.elements.len() - below;
                if *value == 0 { 0 } else { self.elements[log % self.elements.len()] }
            };
            known.iter().map(term).fold(0, |sum, term| sum ^ term)
        }
    }

    fn to_u16(point: usize) -> u16 {
        u16::try_from(point).unwrap()
    }

    fn element(chunk: &[u8], number: usize) -> u16 {
        let block = &chunk[number / 32 * 64..][..64];
        u16::from_le_bytes([block[number % 32], block[32 + number % 32]])
    }

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

    // [CONT-W-008]
    #[test]
    fn parity_of_every_group_that_a_layout_has_is_what_the_formula_gives() {
        let field = Field::new();
        for data in 1..2 * GROUP_CHUNKS {
            let content = group(data, 3);
            let parity = protect(&content, parity_for(data)).unwrap();
            let (filled, parity_filled) = (data.next_power_of_two(), parity.len().next_power_of_two());
            assert!(filled <= parity_filled, "the low rate is for these: {data} chunks");
            let (data_points, parity_points) = (0..filled, filled..filled + parity.len());
            // Of each chunk its first two elements, one of its middle and its last.
            for number in [0, 1, CHUNK_LEN / 4 + 5, CHUNK_LEN / 2 - 1] {
                let value = |place: usize| content.get(place).map_or(0, |chunk| element(chunk, number));
                let known: Vec<_> = data_points.clone().map(|place| (to_u16(place), value(place))).collect();
                for (chunk, point) in parity.iter().zip(parity_points.clone()) {
                    assert_eq!(
                        element(chunk, number),
                        field.value(&known, to_u16(point)),
                        "{data} chunks, point {point}"
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        // [CONT-W-008]
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
