//! Keys from what people choose: Argon2id makes each guess dear. It must not know what the words are for.
//!
//! Source: RFC 9106 §4 (the second recommended option); spec/crypto.md §8.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

/// Memory of one guess, KiB.
pub const MEMORY_KIB: u32 = 64 << 10;
/// Passes over that memory.
pub const PASSES: u32 = 3;
/// Lanes.
pub const LANES: u32 = 4;

/// 32 bytes from a name or passphrase and a salt. `None` only when the words are longer than 4 GiB.
#[must_use]
pub fn stretch(words: &[u8], salt: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(words, salt, &mut *key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_or_another_salt_give_another_key() {
        let key = stretch(b"word", &[1; 32]).unwrap();
        assert_eq!(stretch(b"word", &[1; 32]).unwrap(), key);
        assert_ne!(stretch(b"work", &[1; 32]).unwrap(), key);
        assert_ne!(stretch(b"word", &[2; 32]).unwrap(), key);
    }
}
