//! Who listens: relays of a network that is made for one run and that nobody else is in. It must not know what they do wrong.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::crypto::{CryptoRng, random_bytes};
use crate::keyspace::Id;
use crate::net::Clock;
use crate::probe::{AsRelay, Me};
use crate::time::{Instant, Now};
use crate::wire::contact::Contact;
use crate::wire::message::Answer;
use crate::wire::network::Network;

/// Relays that a peer is pointed at; it may leave one alone for a while after each that went wrong.
const ENTRANCES: u8 = 8;
/// Relays that it learns of from those: guards, second hops and exits.
const OTHERS: u8 = 12;
/// Second byte of the loopback networks that they are in, each in one of its own.
const FIRST_NET: u8 = 100;

/// A relay that listens.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) me: Me,
    /// Whether peers are pointed at it.
    pub(super) is_entrance: bool,
}

/// The relays of a run. On loopback (Linux, IPv4) they are many, in networks of their own; elsewhere one alone.
pub struct Stage {
    network: Network,
    doors: Vec<Door>,
}

impl Stage {
    /// Draws a network and its relays, and listens: the first at `address`.
    ///
    /// # Errors
    /// Those of the sockets.
    pub async fn open(address: SocketAddr, rng: &mut dyn CryptoRng) -> io::Result<Self> {
        let network = Network { id: random_bytes(rng), difficulty: 0 };
        let mut doors = vec![Door::open(address, true, &network, rng).await?];
        if let (true, SocketAddr::V4(v4)) = (cfg!(target_os = "linux") && address.ip().is_loopback(), address) {
            let [_, own, ..] = v4.ip().octets();
            let nets = (FIRST_NET..).filter(|net| *net != own);
            for (at, net) in (1..ENTRANCES + OTHERS).zip(nets) {
                let address = (Ipv4Addr::new(127, net, 0, 1), v4.port()).into();
                doors.push(Door::open(address, at < ENTRANCES, &network, rng).await?);
            }
        }
        Ok(Self { network, doors })
    }

    /// The network that was drawn.
    #[must_use]
    pub fn network(&self) -> Network {
        self.network
    }

    /// Whom a peer is to be pointed at, as its bootstraps.
    #[must_use]
    pub fn entrances(&self) -> Vec<Contact> {
        let entrances = self.doors.iter().filter(|door| door.is_entrance);
        entrances.filter_map(Door::relay).map(|relay| Contact::from(&relay.descriptor)).collect()
    }

    pub(super) fn doors(&self) -> impl Iterator<Item = &Door> {
        self.doors.iter()
    }

    pub(super) fn door(&self, at: usize) -> Option<&Door> {
        self.doors.get(at)
    }

    /// The relay of this id.
    pub(super) fn place_of(&self, id: &Id) -> Option<usize> {
        self.doors.iter().position(|door| door.relay().is_some_and(|relay| relay.descriptor.id() == *id))
    }

    /// Whether there are enough relays for a path.
    pub(super) fn has_paths(&self) -> bool {
        self.doors.len() > 1
    }

    /// All relays, as one page of members.
    pub(super) fn page(&self) -> Answer {
        let mut descriptors: Vec<_> =
            self.doors.iter().filter_map(Door::relay).map(|relay| relay.descriptor.to_signed()).collect();
        descriptors.sort_by_key(|one| one.claim().0);
        Answer::Members { descriptors, more: false, settled: true }
    }
}

impl Door {
    async fn open(
        address: SocketAddr,
        is_entrance: bool,
        network: &Network,
        rng: &mut dyn CryptoRng,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let now = Now { instant: Instant::ZERO, unix: Clock::unix() };
        // In a network without a puzzle the first trial solves it.
        let me = Me::relay(network, listener.local_addr()?, now, rng).ok_or(io::ErrorKind::Other)?;
        Ok(Self { listener, me, is_entrance })
    }

    pub(super) fn relay(&self) -> Option<&AsRelay> {
        self.me.relay.as_ref()
    }
}
