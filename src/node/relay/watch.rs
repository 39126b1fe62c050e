//! The members that a relay stays linked to, to know when one is gone: those nearest to itself and the holders of what it holds.
//! It must not know what is held. Source: spec/dht.md §7.2.

use std::collections::BTreeMap;

use crate::crypto::keys::DhKey;
use crate::limits::REPAIR_WATCHED_MAX;
use crate::time::Instant;
use crate::wire::contact::Contact;

/// One of them.
struct Watched {
    contact: Contact,
    /// When it was last a neighbour, or the holder of something.
    needed: Instant,
    /// When it is dialled next, should it have no link then.
    dial_at: Instant,
    /// Its link has ended.
    absent: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Watch {
    watched: BTreeMap<DhKey, Watched>,
}

/// What became of a member that is needed.
pub(super) enum Noted {
    /// It was watched already.
    Known,
    /// It is watched from now on, in the place of another where that is named.
    New(Option<DhKey>),
}

impl Watch {
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// A member is needed. When there are too many, the one that was not needed for longest gives way.
    pub(super) fn need(&mut self, now: Instant, contact: Contact, dial_at: Instant) -> Noted {
        if let Some(watched) = self.watched.get_mut(&contact.link_key) {
            // Another identity that names the same link key is not watched in its place.
            if watched.contact.id == contact.id {
                watched.needed = now;
                watched.contact = contact;
            }
            return Noted::Known;
        }
        let oldest = self.watched.iter().min_by_key(|(_, watched)| watched.needed).map(|(key, _)| *key);
        let gives_way = oldest.filter(|_| self.watched.len() >= REPAIR_WATCHED_MAX);
        if let Some(key) = &gives_way {
            self.watched.remove(key);
        }
        self.watched.insert(contact.link_key, Watched { contact, needed: now, dial_at, absent: false });
        Noted::New(gives_way)
    }

    /// Who was not needed since; they are watched no more.
    pub(super) fn drop_since(&mut self, needed_after: Instant) -> Vec<DhKey> {
        self.watched.extract_if(.., |_, watched| watched.needed < needed_after).map(|(key, _)| key).collect()
    }

    /// Its last link has ended.
    pub(super) fn on_down(&mut self, link_key: &DhKey, dial_at: Instant) {
        if let Some(watched) = self.watched.get_mut(link_key) {
            (watched.absent, watched.dial_at) = (true, dial_at);
        }
    }

    /// It has a link. Tells who it is, if it had none for a while.
    pub(super) fn on_up(&mut self, link_key: &DhKey) -> Option<Contact> {
        let watched = self.watched.get_mut(link_key)?;
        watched.dial_at = Instant::from_micros(u64::MAX);
        core::mem::take(&mut watched.absent).then_some(watched.contact)
    }

    /// It is gone. Tells who it is.
    pub(super) fn on_gone(&mut self, link_key: &DhKey) -> Option<Contact> {
        let watched = self.watched.get_mut(link_key)?;
        watched.absent = true;
        Some(watched.contact)
    }

    /// Who is to be dialled now, unless it has a link.
    pub(super) fn due(&mut self, now: Instant, next: Instant) -> Vec<Contact> {
        let due = self.watched.values_mut().filter(|watched| watched.dial_at <= now);
        due.map(|watched| {
            watched.dial_at = next;
            watched.contact
        })
        .collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.watched.values().map(|watched| watched.dial_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::time::Duration;
    use crate::wire::address::Address;

    fn contact(number: usize) -> Contact {
        let number = u8::try_from(number).unwrap();
        let address = Address("127.1.0.1:1".parse().unwrap());
        Contact { id: Id([number; 20]), link_key: DhKey([number; 32]), address }
    }

    fn at(seconds: usize) -> Instant {
        Instant::ZERO + Duration::from_secs(u64::try_from(seconds).unwrap())
    }

    #[test]
    fn the_one_that_was_not_needed_for_longest_gives_way() {
        let mut watch = Watch::default();
        for number in 0..REPAIR_WATCHED_MAX {
            assert!(matches!(watch.need(at(number), contact(number), at(0)), Noted::New(None)));
        }
        assert!(matches!(watch.need(at(100), contact(0), at(0)), Noted::Known));
        let one_more = watch.need(at(101), contact(200), at(0));
        assert!(matches!(one_more, Noted::New(Some(key)) if key == contact(1).link_key));
        assert_eq!(watch.watched.len(), REPAIR_WATCHED_MAX);
        assert_eq!(watch.drop_since(at(100)).len(), REPAIR_WATCHED_MAX - 2);
    }

    #[test]
    fn who_was_away_is_told_when_it_is_back_and_dialled_until_then() {
        let mut watch = Watch::default();
        watch.need(at(0), contact(1), at(1));
        assert_eq!(watch.poll_timeout(), Some(at(1)));
        assert_eq!(watch.due(at(1), at(9)), vec![contact(1)]);
        assert_eq!(watch.due(at(2), at(9)), vec![]);
        assert_eq!(watch.on_up(&contact(1).link_key), None, "its first link is no news");
        watch.on_down(&contact(1).link_key, at(5));
        assert_eq!(watch.on_up(&contact(1).link_key), Some(contact(1)));
        assert_eq!(watch.on_gone(&contact(1).link_key), Some(contact(1)));
        assert_eq!(watch.on_up(&contact(1).link_key), Some(contact(1)));
        assert_eq!(watch.on_gone(&contact(2).link_key), None, "nobody who is watched");
    }
}
