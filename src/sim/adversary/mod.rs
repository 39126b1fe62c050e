//! Relays of one adversary: what each behaviour is called, and what they know of each other. A behaviour stands around a real
//! relay and lies in its place; it must not know the world but by what its relay hears and says. Source: spec/simulation.md §8.

mod circuits;
mod ear;
mod membership;
mod ring;
mod storers;
#[cfg(test)]
mod tests;
mod worst;

use std::rc::Rc;
use std::sync::Arc;

pub use self::ring::Ring;
use super::world::{Mask, NodeNo, World};
use crate::crypto::keys::IdentitySecret;

/// What bad relays do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Behaviour {
    /// As a middle or an exit it takes circuits and loses them.
    Drop,
    /// It answers no find and no store.
    Silent,
    /// It names bad relays, and invented ones, as the closest to every place.
    LieClosest,
    /// It signs that it has nothing, whatever it holds.
    Deny,
    /// As an exit it leaves out whoever has a value.
    Hide,
    /// It keeps the first version of each value for ever, and signs for the others.
    Stale,
    /// It flips a bit of every value that it gives out or hears of.
    Forge,
    /// It signs that it has the newest version of everything, and never gives a value out.
    Withhold,
    /// It signs that it stores, and keeps nothing.
    FalseReceipt,
    /// It tells of bad relays and invented ones alone, some of them with two descriptors of one number.
    Poison,
    /// It ends circuits that no other bad relay is next to.
    Selective,
    /// What hurts most at each place: denies, hides, names bad relays as the closest, loses circuits of others.
    All,
}

impl Behaviour {
    /// Every behaviour, in the order of tables.
    pub const EVERY: [Self; 12] = [
        Self::Drop,
        Self::Silent,
        Self::LieClosest,
        Self::Deny,
        Self::Hide,
        Self::Stale,
        Self::Forge,
        Self::Withhold,
        Self::FalseReceipt,
        Self::Poison,
        Self::Selective,
        Self::All,
    ];

    /// The name in settings and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Silent => "silent",
            Self::LieClosest => "lie-closest",
            Self::Deny => "deny",
            Self::Hide => "hide",
            Self::Stale => "stale",
            Self::Forge => "forge",
            Self::Withhold => "withhold",
            Self::FalseReceipt => "false-receipt",
            Self::Poison => "poison",
            Self::Selective => "selective",
            Self::All => "all",
        }
    }

    /// The behaviour of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|one| one.name() == name)
    }

    /// The mask of one relay of the ring.
    fn mask(self, ring: &Rc<Ring>, secret: Arc<IdentitySecret>) -> Box<dyn Mask> {
        let ring = Rc::clone(ring);
        match self {
            Self::Drop => Box::new(circuits::Drop::default()),
            Self::Silent => Box::new(storers::Silent::default()),
            Self::LieClosest => Box::new(storers::LieClosest::of(ring)),
            Self::Deny => Box::new(storers::Deny),
            Self::Hide => Box::new(storers::Hide::of(ring)),
            Self::Stale => Box::new(storers::Stale),
            Self::Forge => Box::new(storers::Forge::default()),
            Self::Withhold => Box::new(storers::Withhold::of(ring, secret)),
            Self::FalseReceipt => Box::new(storers::FalseReceipt),
            Self::Poison => Box::new(membership::Poison::of(ring)),
            Self::Selective => Box::new(circuits::Selective::of(ring)),
            Self::All => Box::new(worst::All::of(ring)),
        }
    }
}

/// From now on these relays behave like this, and know each other.
pub fn turn_bad(world: &mut World, relays: &[NodeNo], behaviour: Behaviour) {
    let ring = Rc::new(Ring::of(world, relays, behaviour == Behaviour::Poison));
    for relay in relays {
        if let Some(secret) = world.secret_of(*relay) {
            world.mask(*relay, behaviour.mask(&ring, secret));
        }
    }
}
