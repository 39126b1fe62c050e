//! The link to a publication, as people pass it on: Bech32m, so that one wrong character is noticed before anything is sent.
//! Source: spec/content.md §4.

use core::fmt;
use core::str::FromStr;

use bech32::{Bech32m, Hrp};

use crate::crypto::blind::LabelSecret;
use crate::crypto::keys::NodeKey;
use crate::limits::LABEL_LEN_MAX;
use crate::record::Locator;
use crate::wire::codec::Reader;
use crate::wire::network::Network;

const HRP: Hrp = Hrp::parse_unchecked("bauta");
const VERSION: u8 = 1;
/// Bytes that tell the network; enough to notice a mistake, too few to matter otherwise.
const NETWORK_TAG_LEN: usize = 4;

/// A link: whoever holds it can find and read, and only the author can write.
#[derive(Clone)]
pub struct ContentLink {
    network_tag: [u8; NETWORK_TAG_LEN],
    locator: Locator,
}

/// Why a text is no link. Nothing is sent then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefused {
    /// A character is wrong or missing, or it is something else altogether.
    #[error("not a link: a character is wrong or missing (links begin with bauta1)")]
    Text,
    /// It is of a version that this build does not know.
    #[error("link of a later version; this build reads version {VERSION}")]
    Version,
    /// Its key or label is not usable.
    #[error("link holds no usable key")]
    Key,
    /// It belongs to another network.
    #[error("link belongs to another network")]
    Network,
}

fn tag(network: &Network) -> [u8; NETWORK_TAG_LEN] {
    *network.id.first_chunk::<NETWORK_TAG_LEN>().unwrap_or(&[0; NETWORK_TAG_LEN])
}

impl ContentLink {
    /// The link of a locator in a network.
    #[must_use]
    pub fn new(network: &Network, locator: Locator) -> Self {
        Self { network_tag: tag(network), locator }
    }

    /// The locator, if the link is of this network.
    ///
    /// # Errors
    /// [`LinkRefused::Network`].
    pub fn locator(&self, network: &Network) -> Result<&Locator, LinkRefused> {
        if self.network_tag == tag(network) { Ok(&self.locator) } else { Err(LinkRefused::Network) }
    }
}

impl ContentLink {
    /// The bytes behind a text with the prefix and a right checksum; nothing else of it is checked.
    ///
    /// # Errors
    /// [`LinkRefused::Text`].
    pub fn bytes_of(text: &str) -> Result<Vec<u8>, LinkRefused> {
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text.trim());
        let checked = checked.map_err(|_| LinkRefused::Text)?;
        if checked.hrp() == HRP { Ok(checked.byte_iter().collect()) } else { Err(LinkRefused::Text) }
    }

    /// Reads the bytes behind a text.
    ///
    /// # Errors
    /// [`LinkRefused`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, LinkRefused> {
        let text_error = |_| LinkRefused::Text;
        if reader.field("version").u8().map_err(text_error)? != VERSION {
            return Err(LinkRefused::Version);
        }
        let network_tag = reader.field("network tag").array().map_err(text_error)?;
        let author = NodeKey(reader.field("author key").array().map_err(text_error)?);
        let secret = LabelSecret::from_bytes(reader.field("label secret").array().map_err(text_error)?);
        reader.hide();
        let label_len = reader.rest().len();
        if label_len > LABEL_LEN_MAX {
            return Err(LinkRefused::Key);
        }
        let label = if label_len == 0 { &[] } else { reader.field("label").bytes(label_len).map_err(text_error)? };
        let locator = Locator::new(author, label, secret).map_err(|_| LinkRefused::Key)?;
        Ok(Self { network_tag, locator })
    }
}

impl fmt::Display for ContentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.network_tag);
        bytes.extend_from_slice(&self.locator.author().0);
        bytes.extend_from_slice(self.locator.secret().as_bytes());
        bytes.extend_from_slice(self.locator.label());
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, &bytes).map_err(|_| fmt::Error)
    }
}

impl FromStr for ContentLink {
    type Err = LinkRefused;

    fn from_str(text: &str) -> Result<Self, LinkRefused> {
        let text = text.trim();
        let link = Self::read(Reader::new(&Self::bytes_of(text)?))?;
        // Bits that fill no byte must be zeros: one link has one text.
        if link.to_string().eq_ignore_ascii_case(text) { Ok(link) } else { Err(LinkRefused::Text) }
    }
}

impl fmt::Debug for ContentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentLink(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::IdentitySecret;

    fn link(label: &[u8]) -> (Network, ContentLink) {
        let network = Network::named("test", 0);
        let locator = Locator::of_author(&IdentitySecret::from_bytes(&[5; 32]), label).unwrap();
        (network, ContentLink::new(&network, locator))
    }

    #[test]
    fn links_survive_being_printed() {
        for label in [&b""[..], b"label", &[b'x'; LABEL_LEN_MAX]] {
            let (network, link) = link(label);
            let text = link.to_string();
            assert!(text.starts_with("bauta1"));
            for text in [text.clone(), format!(" {text}\n"), text.to_uppercase()] {
                let read: ContentLink = text.parse().unwrap();
                assert_eq!(read.locator(&network).unwrap().locations(), link.locator(&network).unwrap().locations());
                assert_eq!(read.locator(&Network::named("other", 0)).map(|_| ()), Err(LinkRefused::Network));
            }
        }
    }

    // [CONT-R-014]
    #[test]
    fn every_single_changed_character_is_refused() {
        let text = link(b"label").1.to_string();
        for at in 0..text.len() {
            for other in ['q', 'p', 'z', '1', 'b', '-'] {
                let mut changed: Vec<char> = text.chars().collect();
                if changed[at] != other {
                    changed[at] = other;
                    let changed: String = changed.into_iter().collect();
                    assert!(changed.parse::<ContentLink>().is_err(), "{at} {other}");
                }
            }
            let mut shorter = text.clone();
            shorter.remove(at);
            assert!(shorter.parse::<ContentLink>().is_err(), "{at} removed");
        }
    }
}
