//! Who carries the operations of a transfer: a client of one's own, or a running node of the same user. What a file is made of, and its
//! keys, stay with whoever transfers it.

use core::future::Future;

use crate::client::{Client, ClientError, Found, GetOptions, PutOptions, Stored};
use crate::crypto::keys::IdentitySecret;
use crate::limits::TRANSFER_TIMEOUT;
use crate::node::Operation;
use crate::record::Locator;
use crate::request::{SealedChunk, Sighting, Success};
use crate::wire::network::Network;
use crate::wire::record::Expiry;

/// Carries single operations; every method is cancel-safe as [`Client`]'s are.
pub trait Carrier: Clone + Send + Sync + 'static {
    /// The network.
    fn network(&self) -> &Network;

    /// As [`Client::get_record`].
    fn get_root(
        &self,
        locator: &Locator,
        options: GetOptions,
    ) -> impl Future<Output = Result<Found, ClientError>> + Send;

    /// As [`Client::put_record`].
    fn put_root(
        &self,
        author: &IdentitySecret,
        label: &[u8],
        payload: &[u8],
        options: PutOptions,
    ) -> impl Future<Output = Result<Stored, ClientError>> + Send;

    /// As [`Client::put_again`].
    fn put_root_again(
        &self,
        locator: &Locator,
        options: GetOptions,
    ) -> impl Future<Output = Result<Stored, ClientError>> + Send;

    /// Gets up to four chunks in the order asked, each fitting its hash; `None` for those that did not come.
    fn get_chunks(
        &self,
        hashes: Vec<[u8; 32]>,
    ) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, ClientError>> + Send;

    /// Stores up to four chunks; all of them have all their receipts then.
    fn put_chunks(
        &self,
        chunks: Vec<SealedChunk>,
        expiry: Expiry,
    ) -> impl Future<Output = Result<(), ClientError>> + Send;

    /// Asks who has up to four chunks, and until when; in the order asked. Nothing of the chunks themselves comes.
    fn look_chunks(&self, hashes: Vec<[u8; 32]>) -> impl Future<Output = Result<Vec<Sighting>, ClientError>> + Send;
}

impl Carrier for Client {
    fn network(&self) -> &Network {
        Self::network(self)
    }

    async fn get_root(&self, locator: &Locator, options: GetOptions) -> Result<Found, ClientError> {
        self.get_record(locator, options).await
    }

    async fn put_root(
        &self,
        author: &IdentitySecret,
        label: &[u8],
        payload: &[u8],
        options: PutOptions,
    ) -> Result<Stored, ClientError> {
        self.put_record(author, label, payload, options).await
    }

    async fn put_root_again(&self, locator: &Locator, options: GetOptions) -> Result<Stored, ClientError> {
        self.put_again(locator, options).await
    }

    async fn get_chunks(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        match self.run(Operation::ChunkGet { hashes }, TRANSFER_TIMEOUT).await? {
            (Success::Chunks(chunks), _) => Ok(chunks),
            _ => Err(ClientError::Stopped),
        }
    }

    async fn put_chunks(&self, chunks: Vec<SealedChunk>, expiry: Expiry) -> Result<(), ClientError> {
        match self.run(Operation::ChunkPut { chunks, expiry }, TRANSFER_TIMEOUT).await? {
            (Success::ChunksStored { .. }, _) => Ok(()),
            _ => Err(ClientError::Stopped),
        }
    }
    async fn look_chunks(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Sighting>, ClientError> {
        match self.run(Operation::ChunkLook { hashes }, TRANSFER_TIMEOUT).await? {
            (Success::ChunksSeen(seen), _) => Ok(seen),
            _ => Err(ClientError::Stopped),
        }
    }
}
