//! The members around a location as the client knew them when it asked, and the few that an answer may add to them.
//! Knows no signature.

use std::collections::BTreeSet;

use crate::crypto::keys::NodeKey;
use crate::keyspace::Location;
use crate::limits::{NEIGHBOURS_KNOWN, STATEMENTS_MAX};
use crate::membership::members::Members;
use crate::time::UnixTime;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::network::Network;
use crate::wire::statement::{Question, Statement};

/// The closest members known when an operation began.
///
/// Of those that became known since, only the nearest few count: an exit cannot fill the closest set with relays that it
/// introduces itself.
#[derive(Debug)]
pub(super) struct Neighbourhood {
    location: Location,
    known: BTreeSet<NodeKey>,
    newcomers_max: usize,
}

impl Neighbourhood {
    pub(super) fn new(location: Location, members: &Members, newcomers_max: usize) -> Self {
        let known = members.closest(&location, NEIGHBOURS_KNOWN, |_| false);
        Self { location, known: known.into_iter().map(|member| member.key).collect(), newcomers_max }
    }

    pub(super) fn location(&self) -> Location {
        self.location
    }

    /// The closest members without those that are gone, nearest first.
    pub(super) fn closest<'m>(
        &self,
        members: &'m Members,
        count: usize,
        gone: impl Fn(&NodeKey) -> bool,
    ) -> Vec<&'m VerifiedDescriptor> {
        let is_known = |key: &NodeKey| self.known.contains(key);
        let newcomers = members.closest(&self.location, self.newcomers_max, |key| is_known(key) || gone(key));
        let newcomers: BTreeSet<NodeKey> = newcomers.into_iter().map(|member| member.key).collect();
        members.closest(&self.location, count, |key| gone(key) || !(is_known(key) || newcomers.contains(key)))
    }

    /// The statements to be believed: of the closest `reach` members, valid for this question, one of each signer.
    /// Verified one by one; signers are looked up first, so that strangers cost nothing.
    pub(super) fn believed<'s>(
        &self,
        network: &Network,
        question: &Question,
        statements: &'s [Statement],
        (members, reach): (&Members, usize),
        now: UnixTime,
    ) -> Vec<&'s Statement> {
        if question.location != self.location {
            return Vec::new();
        }
        let mut awaited: BTreeSet<NodeKey> =
            self.closest(members, reach, |_| false).into_iter().map(|member| member.key).collect();
        let statements = statements.iter().take(STATEMENTS_MAX);
        let believed = statements.filter(|statement| {
            let holds = awaited.contains(&statement.signer) && statement.verify(network, question, now).is_ok();
            holds && awaited.remove(&statement.signer)
        });
        believed.collect()
    }
}
