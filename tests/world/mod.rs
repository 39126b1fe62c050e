//! A whole network for the integration tests: relays in this process over real sockets, clients beside them, somebody who
//! listens in on all of them. It must not know what any test wants to see.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of it")]

mod ear;
mod misbehaving;
pub(crate) mod raw;

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bauta::cli::local::{LocalNetwork, LocalOptions};
use bauta::client::{Client, ClientError, ClientOptions};
use bauta::crypto::keys::{IdentitySecret, NodeKey};
use bauta::limits::HOPS_CLIENT_MIN;
use bauta::net::{Runtime, Tap};
use bauta::record::Locator;
use bauta::request::Refused;
use bauta::wire::contact::Contact;
use bauta::wire::hex;
use bauta::wire::network::Network;
use bauta::wire::record::ValueKind;
use tempfile::TempDir;

pub(crate) use ear::{Ear, Seen};
pub(crate) use misbehaving::{Behaviour, Behaviours};

/// A test that waits longer has failed. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running network.
pub(crate) struct World {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) network: LocalNetwork,
    pub(crate) ear: Arc<Ear>,
    pub(crate) behaviours: Arc<Behaviours>,
    states: TempDir,
}

impl World {
    /// So many relays that know each other; identities follow from the seed.
    pub(crate) async fn start(seed: u64, relays: usize) -> Self {
        Self::with(LocalOptions::new(network(seed), relays, seed)).await
    }

    /// As the options say, with the ear on every node and behaviours that can be changed on the way.
    pub(crate) async fn with(options: LocalOptions) -> Self {
        let mut world = Self::starting(options).await;
        patiently(world.network.ready()).await;
        world
    }

    /// The same, without waiting until the relays know each other.
    pub(crate) async fn starting(mut options: LocalOptions) -> Self {
        let runtime = Runtime::start().unwrap();
        let (ear, behaviours) = (Arc::new(Ear::default()), Arc::new(Behaviours::new(options.network, options.relays)));
        let tap: Arc<dyn Tap> = ear.clone();
        options.tap = Some(tap);
        options.launch = Some(misbehaving::launch(Arc::clone(&behaviours)));
        let network = LocalNetwork::start(&runtime, &options).await.unwrap();
        Self { runtime, network, ear, behaviours, states: tempfile::tempdir().unwrap() }
    }

    /// A client with a state directory and a loopback /16 of its own. The same number: the same directory.
    pub(crate) fn client(&self, number: u8) -> Client {
        Client::start(&self.runtime, self.client_options(number)).unwrap()
    }

    pub(crate) fn client_options(&self, number: u8) -> ClientOptions {
        let state = self.states.path().join(format!("client-{number}"));
        let mut options = ClientOptions::new(self.network.network, self.network.bootstraps(), state);
        (options.rule, options.bind_ip) = (self.network.rule, self.network.client_ip(number));
        let tap: Arc<dyn Tap> = self.ear.clone();
        (options.tap, options.witness) = (Some(tap), true);
        options
    }

    /// What a command of a user needs to know of this network: the same number, the same address.
    pub(crate) fn settings(&self, number: u8) -> String {
        let mut settings = format!("network = \"{}\"\nbootstraps = [\n", hex::encode(&self.network.network.id));
        self.network.bootstraps().iter().for_each(|contact| writeln!(settings, "    \"{contact}\",").unwrap());
        settings.push_str("]\n");
        match self.network.client_ip(number) {
            Some(ip) => writeln!(settings, "bind = \"{ip}\"").unwrap(),
            None => settings.push_str("prefix_rule = \"one-host\"\n"),
        }
        settings
    }

    /// The running relay that holds most chunks and is no node to start from; how many it holds.
    pub(crate) fn most_chunks(&self) -> (usize, usize) {
        let chunks = |index: &usize| {
            let store = self.network.relays[*index].store.lock().unwrap();
            store.iter().filter(|value| value.kind() == ValueKind::Hashed).count()
        };
        let running = (3..self.network.relays.len()).filter(|index| self.network.relays[*index].is_running());
        let most = running.max_by_key(chunks).unwrap();
        (most, chunks(&most))
    }

    /// Where a relay stands in the list.
    pub(crate) fn index_of(&self, key: &NodeKey) -> usize {
        self.network.relays.iter().position(|relay| relay.key == *key).unwrap()
    }

    pub(crate) fn index_of_contact(&self, contact: &Contact) -> usize {
        self.network.relays.iter().position(|relay| relay.contact == *contact).unwrap()
    }

    /// Stops every relay but these.
    pub(crate) async fn stop_all_but(&mut self, kept: &[usize]) {
        for index in 0..self.network.relays.len() {
            if !kept.contains(&index) {
                self.network.stop(index).await;
            }
        }
    }

    /// Every path that was built had three relays of three networks; there was at least one.
    pub(crate) fn check_paths(&self, client: &Client) {
        let paths = client.paths();
        assert!(!paths.is_empty(), "no path was built at all");
        for path in paths {
            assert_eq!(path.len(), HOPS_CLIENT_MIN);
            let mut nets: Vec<_> = path.iter().map(|hop| hop.address.wide_prefix()).collect();
            nets.sort();
            nets.dedup();
            assert_eq!(nets.len(), HOPS_CLIENT_MIN, "two hops of one path share a /16");
        }
    }
}

/// The network of a seed.
pub(crate) fn network(seed: u64) -> Network {
    Network::named(&format!("integration {seed}"), 0)
}

/// An author of the tests.
pub(crate) fn author(number: u8) -> IdentitySecret {
    IdentitySecret::from_bytes(&[number; 32])
}

pub(crate) fn locator(number: u8, label: &[u8]) -> Locator {
    Locator::of_author(&author(number), label).unwrap()
}

/// Why an operation brought nothing.
pub(crate) fn refused<T: core::fmt::Debug>(result: Result<T, ClientError>) -> Refused {
    match result {
        Err(ClientError::Refused(refused, _)) => refused,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// Waits for an event, not for a time.
pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it never came")
}

/// Waits until something that somebody else does has come about.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    patiently(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
