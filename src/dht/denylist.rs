//! What an operator does not have here: chunks by name, places by location. It must not know where the list comes from.
//! Source: spec/dht.md §4.3.

use std::collections::BTreeSet;

use crate::crypto::hash::hashed_location;
use crate::keyspace::{Id, Location};
use crate::limits::{CHUNK_LOCATIONS, DENIED_MAX};
use crate::wire::hex;

/// Places that are neither kept nor served.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Denylist {
    locations: BTreeSet<Location>,
    entries: usize,
}

/// Why a list is not taken. All of it is refused then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DenylistError {
    /// A line that names nothing.
    #[error("line {0}: neither a chunk's name (64 hexadecimal digits) nor a location (40); what follows # is not read")]
    Line(usize),
    /// Too much.
    #[error("line {0}: more than {DENIED_MAX} names")]
    TooMany(usize),
}

impl Denylist {
    /// One name on a line: 64 hexadecimal digits of a chunk, or 40 of a location. Blank lines, and what follows a `#`, say nothing.
    ///
    /// # Errors
    /// [`DenylistError`], with the number of the line, from 1.
    pub fn parse(text: &str) -> Result<Self, DenylistError> {
        let mut list = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let name = line.split('#').next().unwrap_or_default().trim();
            if name.is_empty() {
                continue;
            }
            if list.entries >= DENIED_MAX {
                return Err(DenylistError::TooMany(number));
            }
            list.entries += 1;
            if let Ok(location) = hex::decode::<20>(name) {
                list.locations.insert(Id(location));
            } else if let Ok(hash) = hex::decode::<32>(name) {
                let indices = 0..u8::try_from(CHUNK_LOCATIONS).unwrap_or(u8::MAX);
                list.locations.extend(indices.map(|index| hashed_location(&hash, index)));
            } else {
                return Err(DenylistError::Line(number));
            }
        }
        Ok(list)
    }

    /// Whether this place is denied, whatever kind of value would stand there.
    #[must_use]
    pub fn has(&self, location: &Location) -> bool {
        self.locations.contains(location)
    }

    /// The places, in order.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        self.locations.iter()
    }

    /// Lines that name something.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: [u8; 32] = [0xab; 32];

    #[test]
    fn a_chunks_name_denies_all_its_locations_and_a_location_itself() {
        let text = format!("# from 2026-11\n{}\n\n  {} # asked for\r\n", hex::encode(&CHUNK), "01".repeat(20));
        let list = Denylist::parse(&text).unwrap();
        assert_eq!((list.len(), list.locations().count()), (2, CHUNK_LOCATIONS + 1));
        assert!(list.has(&hashed_location(&CHUNK, 0)) && list.has(&Id([1; 20])));
        assert!(!list.has(&Id([2; 20])) && Denylist::parse("").unwrap().is_empty());
    }

    // [DHT-R-018]
    #[test]
    fn a_line_that_names_nothing_is_refused_with_its_number() {
        for line in ["0", "xy", "01 02", &"01".repeat(21), &"0g".repeat(20), "bauta1q"] {
            let text = format!("# first\n{}\n{line}\n", "01".repeat(20));
            assert_eq!(Denylist::parse(&text), Err(DenylistError::Line(3)), "{line}");
        }
    }

    #[test]
    fn no_more_names_are_taken_than_the_cap() {
        let line = format!("{}\n", "01".repeat(20));
        assert_eq!(Denylist::parse(&line.repeat(DENIED_MAX)).unwrap().len(), DENIED_MAX);
        assert_eq!(Denylist::parse(&line.repeat(DENIED_MAX + 1)), Err(DenylistError::TooMany(DENIED_MAX + 1)));
    }
}
