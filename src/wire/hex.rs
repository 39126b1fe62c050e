//! Bytes as people copy them: lower-case hexadecimal, fixed lengths. Shapes only.

use super::codec::Malformed;

/// Two digits for each byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// Exactly `N` bytes; capital digits are taken as well.
///
/// # Errors
/// [`Malformed::Value`] for another length or another character.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], Malformed> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(Malformed::Value);
    }
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(Malformed::Value);
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (value(*high)? << 4) | value(*low)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_everything_else_is_refused() {
        assert_eq!(encode(&[0, 0x1f, 0xff]), "001fff");
        assert_eq!(decode::<3>("001FfF"), Ok([0, 0x1f, 0xff]));
        for text in ["", "001ff", "001fff0", "001fffff", "001fg0", "00é0f", "+0+0+0"] {
            assert_eq!(decode::<3>(text), Err(Malformed::Value), "{text}");
        }
    }
}
