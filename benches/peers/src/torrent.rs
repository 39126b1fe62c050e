//! BitTorrent's Mainline DHT, as the `mainline` crate has it: its own test network, over UDP. Its nodes ask each other: a node that
//! only asks is taken for one that answers by those that have no bootstraps, and each of their lookups then waits for it.
//!
//! Unless told otherwise its nodes bind to all addresses and start from public ones. Here every node is bound to 127.0.0.1, from
//! where the kernel lets nothing leave the machine, and has no bootstraps: it is told the other nodes' addresses.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use mainline::async_dht::AsyncDht;
use mainline::{Dht, MutableItem, SigningKey, Testnet};

use crate::{CLIENTS, RECORDS};

/// The most that a node keeps under one target, bytes. Source: BEP 44.
pub(crate) const ITEM_LEN: usize = 1_000;
/// Nodes nearest to a target that a put goes to: the library's own number. It takes another one now and then.
pub(crate) const COPIES: usize = 20;
const WAKE_INTERVAL: Duration = Duration::from_millis(1);

/// When a node's thread looks for commands: it does so each time its socket has waited.
#[derive(Clone, Copy)]
pub(crate) enum Poll {
    /// Every 50 ms, or when a datagram comes.
    Own,
    /// At once, and while it puts every millisecond: a byte that is no message ends the socket's wait.
    Woken,
}

pub(crate) struct Torrent {
    askers: Vec<(AsyncDht, SocketAddrV4)>,
    author: SigningKey,
    waker: UdpSocket,
    _nodes: Testnet,
}

impl Torrent {
    pub(crate) async fn start(nodes: usize) -> Result<Self> {
        let nodes = Testnet::builder(nodes).bind_address(Ipv4Addr::LOCALHOST).build()?;
        let mut askers = Vec::new();
        for node in nodes.nodes.iter().take(CLIENTS).cloned().map(Dht::as_async) {
            let address = node.info().await.local_addr();
            ensure!(address.ip().is_loopback(), "a node is bound to {address}");
            askers.push((node, address));
        }
        let waker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let network = Self { askers, author: SigningKey::from_bytes(&[7; 32]), waker, _nodes: nodes };
        for number in 0..RECORDS {
            network.put(number, Poll::Woken).await.context("a first put")?;
        }
        Ok(network)
    }

    /// Every node that was asked to keep it has answered.
    pub(crate) async fn put(&self, number: usize, poll: Poll) -> Result<()> {
        let (node, address) = &self.askers[number % self.askers.len()];
        let salt = number.to_string();
        let item = MutableItem::new(self.author.clone(), &[7; ITEM_LEN], 1, Some(salt.as_bytes()));
        let stored = tokio::select! {
            biased;
            stored = node.put_mutable(item, None) => stored?,
            Err(error) = self.keep_waking(*address, poll) => return Err(error),
        };
        ensure!(stored.stored_at > 0, "nobody keeps it");
        Ok(())
    }

    /// The first item; its signature holds.
    pub(crate) async fn get(&self, number: usize, poll: Poll) -> Result<()> {
        let (node, address) = &self.askers[number % self.askers.len()];
        let salt = (number % RECORDS).to_string();
        let mut items = node.get_mutable(self.author.verifying_key().as_bytes(), Some(salt.as_bytes()), None);
        self.wake(*address, poll)?;
        let item = items.next().await.context("nothing was found")?;
        ensure!(item.value().len() == ITEM_LEN, "{} bytes", item.value().len());
        Ok(())
    }

    /// A put needs more than one: its thread sees that all have answered only after its next wait.
    async fn keep_waking(&self, node: SocketAddrV4, poll: Poll) -> Result<()> {
        let mut again = tokio::time::interval(WAKE_INTERVAL);
        loop {
            again.tick().await;
            self.wake(node, poll)?;
        }
    }

    fn wake(&self, node: SocketAddrV4, poll: Poll) -> Result<()> {
        if matches!(poll, Poll::Woken) {
            self.waker.send_to(&[0], node)?;
        }
        Ok(())
    }
}
