//! The members that a relay stays linked to, to know when one is gone: those nearest to itself and the holders of what it holds.
//! It must not know what is held. Source: spec/dht.md §7.2.

use std::collections::BTreeMap;

use crate::crypto::keys::DhKey;
use crate::limits::REPAIR_WATCHED_MAX;
use crate::node::deadlines::Deadlines;
use crate::time::{Duration, Instant};
use crate::wire::contact::Contact;

/// One of them.
struct Watched {
    contact: Contact,
    /// When it was last a neighbour, or the holder of something.
    needed: Instant,
    /// Its link has ended.
    absent: bool,
    /// When its return is told of at the soonest.
    told_after: Instant,
}

/// All of them.
#[derive(Default)]
pub(super) struct Watch {
    watched: BTreeMap<DhKey, Watched>,
    /// When each is looked at next: dialled, should it have no link then.
    look_at: Deadlines<DhKey>,
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
    pub(super) fn need(&mut self, now: Instant, contact: Contact, dial_at: Option<Instant>) -> Noted {
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
            self.look_at.remove(key);
        }
        self.watched.insert(contact.link_key, Watched { contact, needed: now, absent: false, told_after: now });
        self.look_at.set(contact.link_key, dial_at);
        Noted::New(gives_way)
    }

    /// Who was not needed since; they are watched no more.
    pub(super) fn drop_since(&mut self, needed_after: Instant) -> Vec<DhKey> {
        let dropped = self.watched.extract_if(.., |_, watched| watched.needed < needed_after);
        let dropped: Vec<DhKey> = dropped.map(|(key, _)| key).collect();
        dropped.iter().for_each(|key| {
            self.look_at.remove(key);
        });
        dropped
    }

    /// Its last link has ended.
    pub(super) fn on_down(&mut self, link_key: &DhKey, dial_at: Instant) {
        if let Some(watched) = self.watched.get_mut(link_key) {
            watched.absent = true;
            self.look_at.set(*link_key, Some(dial_at));
        }
    }

    /// It has a link. Tells who it is, if it had none for a while; who comes and goes all the time, once in
    /// so long: every return has all that both hold looked after.
    pub(super) fn on_up(&mut self, now: Instant, link_key: &DhKey, told_every: Duration) -> Option<Contact> {
        let watched = self.watched.get_mut(link_key)?;
        let is_early = watched.absent && now < watched.told_after;
        self.look_at.set(*link_key, is_early.then_some(watched.told_after));
        if is_early || !core::mem::take(&mut watched.absent) {
            return None;
        }
        watched.told_after = now + told_every;
        Some(watched.contact)
    }

    /// It is gone. Tells who it is.
    pub(super) fn on_gone(&mut self, link_key: &DhKey) -> Option<Contact> {
        let watched = self.watched.get_mut(link_key)?;
        watched.absent = true;
        Some(watched.contact)
    }

    /// Who is to be looked at now: dialled, unless it has a link.
    pub(super) fn due(&mut self, now: Instant, next: Instant) -> Vec<Contact> {
        let due = self.look_at.due(now);
        due.iter().for_each(|key| self.look_at.set(*key, Some(next)));
        due.iter().filter_map(|key| self.watched.get(key)).map(|watched| watched.contact).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.look_at.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::wire::address::Address;

    const EVERY: Duration = Duration::from_secs(60);

    fn contact(number: usize) -> Contact {
        let number = u8::try_from(number).unwrap();
        let address = Address("127.1.0.1:1".parse().unwrap());
        Contact { id: Id([number; 20]), link_key: DhKey([number; 32]), address }
    }

    fn at(seconds: usize) -> Instant {
        Instant::ZERO + Duration::from_secs(u64::try_from(seconds).unwrap())
    }

    // [DHT-W-029]
    #[test]
    fn the_one_that_was_not_needed_for_longest_gives_way() {
        let mut watch = Watch::default();
        for number in 0..REPAIR_WATCHED_MAX {
            assert!(matches!(watch.need(at(number), contact(number), Some(at(0))), Noted::New(None)));
        }
        assert!(matches!(watch.need(at(100), contact(0), Some(at(0))), Noted::Known));
        let one_more = watch.need(at(101), contact(200), Some(at(0)));
        assert!(matches!(one_more, Noted::New(Some(key)) if key == contact(1).link_key));
        assert_eq!(watch.watched.len(), REPAIR_WATCHED_MAX);
        assert_eq!(watch.drop_since(at(100)).len(), REPAIR_WATCHED_MAX - 2);
    }

    #[test]
    fn who_was_away_is_told_when_it_is_back_and_dialled_until_then() {
        let mut watch = Watch::default();
        watch.need(at(0), contact(1), Some(at(1)));
        assert_eq!(watch.poll_timeout(), Some(at(1)));
        assert_eq!(watch.due(at(1), at(9)), vec![contact(1)]);
        assert_eq!(watch.due(at(2), at(9)), vec![]);
        assert_eq!(watch.on_up(at(2), &contact(1).link_key, EVERY), None, "its first link is no news");
        assert_eq!(watch.poll_timeout(), None);
        watch.on_down(&contact(1).link_key, at(5));
        assert_eq!(watch.on_up(at(6), &contact(1).link_key, EVERY), Some(contact(1)));
        let again = at(6) + EVERY;
        assert_eq!(watch.on_gone(&contact(1).link_key), Some(contact(1)));
        assert_eq!(watch.on_up(again, &contact(1).link_key, EVERY), Some(contact(1)));
        assert_eq!(watch.on_gone(&contact(2).link_key), None, "nobody who is watched");
    }

    #[test]
    fn who_comes_and_goes_all_the_time_is_told_of_once_in_a_while_and_not_forgotten() {
        let mut watch = Watch::default();
        watch.need(at(0), contact(1), None);
        let told: Vec<usize> = (1..180)
            .filter(|second| {
                watch.on_down(&contact(1).link_key, at(second + 1));
                watch.on_up(at(*second), &contact(1).link_key, EVERY).is_some()
            })
            .collect();
        assert_eq!(told, [1, 61, 121]);
        // Its last return was too early: it is looked at again when there is time for it.
        assert_eq!(watch.poll_timeout(), Some(at(181)));
        assert_eq!(watch.on_up(at(181), &contact(1).link_key, EVERY), Some(contact(1)));
        assert_eq!(watch.poll_timeout(), None);
    }
}
