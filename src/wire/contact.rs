//! A compact contact, 71 bytes: id 20, link key 32, address 19. Hearsay until a handshake delivers the signed descriptor.

use core::fmt;
use core::str::FromStr;

use super::address::Address;
use super::codec::{Malformed, Reader};
use super::descriptor::VerifiedDescriptor;
use super::hex;
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
        Ok(Self {
            id: Id(reader.field("id").array()?),
            link_key: DhKey(reader.field("link key").array()?),
            address: Address::decode(reader)?,
        })
    }
}

impl From<&VerifiedDescriptor> for Contact {
    fn from(descriptor: &VerifiedDescriptor) -> Self {
        Self { id: descriptor.id(), link_key: descriptor.link_key, address: descriptor.address }
    }
}

/// As it stands in configurations: `IP:PORT/ID/LINK-KEY`, both in hexadecimal (spec/cli.md §5).
impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.address.0, hex::encode(&self.id.0), hex::encode(&self.link_key.0))
    }
}

impl FromStr for Contact {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let [address, id, link_key] =
            <[&str; 3]>::try_from(text.split('/').collect::<Vec<_>>()).map_err(|_| Malformed::Value)?;
        let address = Address(address.parse().map_err(|_| Malformed::Value)?);
        let contact = Self { id: Id(hex::decode(id)?), link_key: DhKey(hex::decode(link_key)?), address };
        // The rules of addresses stand with their bytes.
        let mut bytes = Vec::with_capacity(CONTACT_LEN);
        contact.encode(&mut bytes);
        Self::decode(&mut Reader::new(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_survive_being_printed_and_what_is_none_is_refused() {
        for address in ["127.1.0.1:4000", "[2001:db8::1]:443"] {
            let address = Address(address.parse().unwrap());
            let contact = Contact { id: Id([7; 20]), link_key: DhKey([9; 32]), address };
            assert_eq!(contact.to_string().parse(), Ok(contact));
        }
        let (id, key) = ("07".repeat(20), "09".repeat(32));
        for text in [
            String::new(),
            format!("127.0.0.1:0/{id}/{key}"),
            format!("[::ffff:127.0.0.1]:1/{id}/{key}"),
            format!("localhost:1/{id}/{key}"),
            format!("127.0.0.1:1/{key}/{id}"),
            format!("127.0.0.1:1/{id}"),
            format!("127.0.0.1:1/{id}/{key}/"),
        ] {
            assert_eq!(text.parse::<Contact>(), Err(Malformed::Value), "{text}");
        }
    }
}
