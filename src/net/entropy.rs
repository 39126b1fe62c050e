//! Randomness of the operating system, as seeds. It must not know what generators are for.

use std::io;
use std::sync::{Mutex, PoisonError};

use rand::rngs::{ChaCha20Rng, SysRng};
use rand::{SeedableRng, TryRng};
use zeroize::Zeroizing;

use crate::crypto::{forget_past, random_bytes};

/// Gives every task a generator of its own.
pub struct Entropy(Mutex<ChaCha20Rng>);

impl Entropy {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn from_system() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        SysRng.try_fill_bytes(&mut *seed).map_err(|_| io::Error::other("the system gives no randomness"))?;
        Ok(Self(Mutex::new(ChaCha20Rng::from_seed(*seed))))
    }

    /// A new generator, with a seed that nobody else has.
    #[must_use]
    pub fn generator(&self) -> ChaCha20Rng {
        let mut root = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = Zeroizing::new(random_bytes(&mut *root));
        forget_past(&mut root);
        ChaCha20Rng::from_seed(*seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_generators_give_the_same_bytes() {
        let (one, other) = (Entropy::from_system().unwrap(), Entropy::from_system().unwrap());
        let drawn: std::collections::BTreeSet<[u8; 32]> =
            [&one, &one, &other].map(|entropy| random_bytes(&mut entropy.generator())).into_iter().collect();
        assert_eq!(drawn.len(), 3);
    }
}
