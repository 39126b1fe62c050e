//! Bauta's own network: relays in this process, clients whose circuits are not staggered, each get and put over three hops.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bauta::cli::local::{LocalNetwork, LocalOptions};
use bauta::client::{Client, ClientOptions, GetOptions, PutOptions};
use bauta::crypto::keys::IdentitySecret;
use bauta::limits::{HOLDERS, LOCATIONS};
use bauta::net::Runtime;
use bauta::record::Locator;
use bauta::request::Consistency;
use bauta::wire::network::Network;

use crate::{CLIENTS, RECORD_LEN, RECORDS};

pub(crate) struct Overlay {
    clients: Vec<Client>,
    author: IdentitySecret,
    locators: Vec<Locator>,
    _network: LocalNetwork,
    _states: tempfile::TempDir,
}

impl Overlay {
    /// Relays that know each other, and records that are stored.
    pub(crate) async fn start(nodes: usize) -> Result<Self> {
        let runtime = Runtime::start()?;
        let mut network =
            LocalNetwork::start(&runtime, &LocalOptions::new(Network::named("peers", 0), nodes, 1)).await?;
        network.ready().await;
        let states = tempfile::tempdir()?;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let state = states.path().join(number.to_string());
            let mut options = ClientOptions::new(network.network, network.bootstraps(), state);
            (options.rule, options.bind_ip) = (network.rule, network.client_ip(u8::try_from(number)?));
            options.stagger = Duration::ZERO;
            clients.push(Client::start(&runtime, options)?);
        }
        let author = IdentitySecret::from_bytes(&[7; 32]);
        let mut overlay = Self { clients, author, locators: Vec::new(), _network: network, _states: states };
        for number in 0..RECORDS {
            overlay.put(number).await.context("a first put")?;
            overlay.locators.push(Locator::of_author(&overlay.author, number.to_string().as_bytes())?);
        }
        Ok(overlay)
    }

    /// All holders have signed for it.
    pub(crate) async fn put(&self, number: usize) -> Result<()> {
        let client = &self.clients[number % self.clients.len()];
        let label = number.to_string();
        let put = client.put_record(&self.author, label.as_bytes(), &[7; RECORD_LEN], PutOptions::default());
        let stored = put.await?;
        ensure!(stored.copies == [HOLDERS; LOCATIONS], "copies: {:?}", stored.copies);
        Ok(())
    }

    /// What came is attested to be the newest.
    pub(crate) async fn get(&self, number: usize, consistency: Consistency) -> Result<()> {
        let client = &self.clients[number % self.clients.len()];
        let locator = &self.locators[number % self.locators.len()];
        let found = client.get_record(locator, GetOptions { consistency, ..GetOptions::default() }).await?;
        ensure!(found.attested && found.payload.len() == RECORD_LEN, "not attested, or of a wrong length");
        Ok(())
    }
}
