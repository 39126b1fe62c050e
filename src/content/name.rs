//! Names that people can say, and what an argument of `get` may be: a name or a link. Source: spec/content.md §7.

use core::fmt;

use super::link::{ContentLink, LinkRefused};
use crate::crypto::hash::blake3;
use crate::crypto::keys::IdentitySecret;
use crate::crypto::stretch::stretch;
use crate::limits::NAME_LEN_MAX;
use crate::record::Locator;
use crate::wire::network::Network;

/// What every link begins with; no name does, so that a mistyped link is never looked up as a name.
const LINK_PREFIX: &str = "bauta1";

/// A name that people can say. Whoever says it can read and replace what stands under it.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(String);

/// A name or a link.
#[derive(Clone)]
pub enum Target {
    /// A name.
    Name(Name),
    /// A link.
    Link(Box<ContentLink>),
}

/// Why an argument is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefused {
    /// It can only be a link, and is none.
    #[error(transparent)]
    Link(#[from] LinkRefused),
    /// It is too long for a name, and does not begin as links do.
    #[error("neither a link (those begin with bauta1) nor a name (at most {NAME_LEN_MAX} bytes)")]
    Neither,
    /// It is empty.
    #[error("a name has at least one character")]
    Empty,
    /// It is over [`NAME_LEN_MAX`], and no link was asked for.
    #[error("a name has at most {NAME_LEN_MAX} bytes")]
    Long,
    /// A control character, a mark of direction, or a space at an end.
    #[error("a name has no control character, no mark of writing direction, and no space at its ends")]
    Characters,
    /// It begins as links do.
    #[error("a name does not begin with bauta1, as links do")]
    LooksLikeLink,
}

impl Name {
    /// Takes a name as it stands: its bytes count, and nothing is folded.
    ///
    /// # Errors
    /// [`TargetRefused`].
    pub fn new(text: &str) -> Result<Self, TargetRefused> {
        if text.is_empty() {
            return Err(TargetRefused::Empty);
        }
        if text.len() > NAME_LEN_MAX {
            return Err(TargetRefused::Long);
        }
        if looks_like_link(text) {
            return Err(TargetRefused::LooksLikeLink);
        }
        if text.trim() != text || !super::file_name::reads_as_it_is(text) {
            return Err(TargetRefused::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key pair that everybody who says the name has, in this network. Dear on purpose: about 0.2 s and 64 MiB.
    #[must_use]
    pub fn author(&self, network: &Network) -> Option<IdentitySecret> {
        let salt = blake3(&[b"bauta/1 name", &network.id]);
        Some(IdentitySecret::from_bytes(&*stretch(self.0.as_bytes(), &salt)?))
    }

    /// Where its content stands. As dear as [`Self::author`].
    #[must_use]
    pub fn locator(&self, network: &Network) -> Option<Locator> {
        Locator::of_author(&self.author(network)?, b"").ok()
    }
}

impl Target {
    /// Reads an argument: longer than a name may be, or begun as links begin, it is only ever a link.
    ///
    /// # Errors
    /// [`TargetRefused`].
    pub fn parse(text: &str) -> Result<Self, TargetRefused> {
        if looks_like_link(text.trim()) {
            return Ok(Self::Link(Box::new(text.parse()?)));
        }
        if text.trim().len() > NAME_LEN_MAX {
            return Err(TargetRefused::Neither);
        }
        Name::new(text).map(Self::Name)
    }
}

fn looks_like_link(text: &str) -> bool {
    text.get(..LINK_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(LINK_PREFIX))
}

/// A name may say what somebody looks for: it does not belong in logs.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [CONT-R-028] [CONT-R-029]
    #[test]
    fn what_can_be_a_name_is_one_and_everything_else_is_read_as_a_link() {
        for text in ["a", "weather in Bergen", "größe", "baut", "bauta", &"n".repeat(NAME_LEN_MAX)] {
            assert!(matches!(Target::parse(text), Ok(Target::Name(_))), "{text}");
        }
        let is = |text: &str, why| assert_eq!(Target::parse(text).map(|_| ()), Err(why), "{text}");
        is(&"n".repeat(NAME_LEN_MAX + 1), TargetRefused::Neither);
        is("bauta1qqqq", TargetRefused::Link(LinkRefused::Text));
        is("BAUTA1", TargetRefused::Link(LinkRefused::Text));
        is(" bauta1qqqq", TargetRefused::Link(LinkRefused::Text));
        is("", TargetRefused::Empty);
        for text in [" a", "a ", "a\nb", "a\u{1b}b", "a\u{202e}b", " "] {
            is(text, TargetRefused::Characters);
        }
        assert_eq!(Name::new("bauta1x"), Err(TargetRefused::LooksLikeLink));
        assert_eq!(Name::new(&"n".repeat(NAME_LEN_MAX + 1)), Err(TargetRefused::Long));
    }

    // [CONT-W-030]
    #[test]
    fn a_name_leads_to_one_place_in_one_network() {
        let (one, other) = (Network::named("one", 0), Network::named("other", 0));
        let name = Name::new("weather").unwrap();
        let place = name.locator(&one).unwrap().locations();
        assert_eq!(name.locator(&one).unwrap().locations(), place);
        assert_ne!(name.locator(&other).unwrap().locations(), place);
        assert_ne!(Name::new("Weather").unwrap().locator(&one).unwrap().locations(), place);
    }
}
