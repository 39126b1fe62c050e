//! How a command reaches the network: a client of its own that joins, acts and leaves.

use std::path::PathBuf;

use super::Told;
use super::exit::Exit;
use super::settings::Settings;
use crate::client::{Client, ClientError, ClientOptions, Content, GetOptions, Progress, PublishOptions, Published};
use crate::content::{ContentLink, FileName};
use crate::disk::StateDir;
use crate::net::Runtime;
use crate::node::{BuiltPath, Joined};
use crate::record::Locator;
use crate::request::Counts;
use crate::wire::hex;
use crate::wire::network::Network;

/// Bytes of the network id that name its folder.
const FOLDER_LEN: usize = 8;

/// A running node could not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum WayError {
    /// It said why.
    #[error("{message}")]
    Node {
        /// How it counts.
        exit: Exit,
        /// In its words.
        message: String,
        /// The numbers of the operation.
        counts: Option<Counts>,
    },
}

/// A way into the network.
pub(super) struct Way {
    client: Client,
}

impl Way {
    /// A client of our own.
    pub(super) async fn open(told: &Told) -> anyhow::Result<Self> {
        Self::open_with(told, false).await
    }

    /// As [`Self::open`]; `afresh` asks the bootstraps although a membership is on disk.
    pub(super) async fn open_with(told: &Told, afresh: bool) -> anyhow::Result<Self> {
        let settings = &told.settings;
        let runtime = Runtime::start()?;
        let options = ClientOptions { afresh, ..options(settings)? };
        Ok(Self { client: Client::start(&runtime, options)? })
    }

    /// The client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// See [`Client::publish`].
    pub(super) async fn publish(
        &self,
        name: &FileName,
        content: Vec<u8>,
        options: PublishOptions,
        progress: impl Fn(Progress) + Send,
    ) -> anyhow::Result<Published> {
        Ok(self.client.publish(name, content, options, progress).await?)
    }

    /// See [`Client::get`].
    pub(super) async fn get(
        &self,
        link: &ContentLink,
        options: GetOptions,
        progress: impl Fn(Progress) + Send,
    ) -> anyhow::Result<Content> {
        Ok(self.client.get(link, options, progress).await?)
    }

    /// See [`Client::current_seq`].
    pub(super) async fn current_seq(&self, locator: &Locator, options: GetOptions) -> anyhow::Result<Option<u64>> {
        Ok(self.client.current_seq(locator, options).await?)
    }

    /// Circuits that were built, and how the membership came.
    pub(super) fn story(&self) -> (Vec<BuiltPath>, Option<Joined>) {
        (self.client.circuits(), self.client.joined())
    }

    /// Leaves the network; what is to be kept is on disk then.
    pub(super) async fn close(self) {
        self.client.close().await;
    }
}

/// What the settings make of a client.
pub(super) fn options(settings: &Settings) -> anyhow::Result<ClientOptions> {
    let network = settings.network()?;
    let mut options = ClientOptions::new(network, settings.bootstraps()?, folder(settings, &network)?);
    (options.hops, options.stagger, options.timeout) = (settings.hops, settings.stagger, settings.timeout);
    (options.rule, options.bind_ip) = (settings.rule, settings.bind);
    Ok(options)
}

/// The folder of one network in the state directory; both are this user's alone.
pub(super) fn folder(settings: &Settings, network: &Network) -> Result<PathBuf, ClientError> {
    StateDir::open(&settings.state)?;
    let id = network.id.first_chunk::<FOLDER_LEN>().map(|id| hex::encode(id)).unwrap_or_default();
    Ok(settings.state.join(id))
}
