//! A compact contact, 71 bytes: id 20, link key 32, address 19. Hearsay until a handshake delivers the signed descriptor.

use super::address::Address;
use super::codec::{Malformed, Reader};
use super::descriptor::VerifiedDescriptor;
use crate::crypto::keys::DhKey;
use crate::keyspace::Id;

/// Bytes of an encoded contact.
pub const CONTACT_LEN: usize = 71;

/// Where a node is said to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Contact {
    /// Its id, as said.
    pub id: Id,
    /// Its link key, as said: the handshake proves it.
    pub link_key: DhKey,
    /// Its address, as said.
    pub address: Address,
}

impl Contact {
    /// Appends the 71 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.link_key.0);
        self.address.encode(out);
    }

    /// Reads the 71 bytes.
    ///
    /// # Errors
    /// [`Malformed`] for a bad address.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { id: Id(reader.array()?), link_key: DhKey(reader.array()?), address: Address::decode(reader)? })
    }
}

impl From<&VerifiedDescriptor> for Contact {
    fn from(descriptor: &VerifiedDescriptor) -> Self {
        Self { id: descriptor.id(), link_key: descriptor.link_key, address: descriptor.address }
    }
}
