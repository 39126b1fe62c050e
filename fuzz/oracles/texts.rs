//! Links, names and keys as people pass them on: what is taken is written back as it was, one wrong character anywhere is noticed, and
//! nothing is a link to one and a name to another.

use std::sync::OnceLock;

use bauta::content::{AuthorKey, ContentLink, Name, Target};
use bauta::limits::NAME_LEN_MAX;
use bauta::record::Locator;
use bauta::wire::network::Network;

use super::relays::{identity, network};
use super::script::Script;

/// Letters of Bech32m, some that are none, and both cases.
const LETTERS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7lQPbio1B \x7f\n";

/// Links and keys of a few lengths.
fn kept() -> &'static [String] {
    static KEPT: OnceLock<Vec<String>> = OnceLock::new();
    KEPT.get_or_init(|| {
        let locator = |label: &[u8]| Locator::of_author(&identity(1), label).expect("short");
        let links =
            [&b""[..], b"label", &[7; 64]].map(|label| ContentLink::new(&network(), locator(label)).to_string());
        let key = AuthorKey::Open(identity(2)).to_text().to_string();
        links.into_iter().chain([key]).collect()
    })
}

fn link(text: &str) -> bool {
    let Ok(link) = text.parse::<ContentLink>() else { return false };
    assert_eq!(link.to_string(), text.trim().to_ascii_lowercase());
    assert!(matches!(Target::parse(text), Ok(Target::Link(same)) if same.to_string() == link.to_string()));
    assert!(Name::new(text).is_err());
    // Of one network at most.
    let elsewhere = Network::named("elsewhere", 0);
    assert!(link.locator(&network()).is_err() || link.locator(&elsewhere).is_err());
    true
}

fn key(text: &str) -> bool {
    let Ok(key) = text.parse::<AuthorKey>() else { return false };
    assert_eq!(**key.to_text(), *text.trim().to_ascii_lowercase());
    let again = AuthorKey::from_bytes(&key.to_bytes()).expect("its own bytes");
    assert_eq!(again.public(), key.public());
    true
}

fn name(text: &str) {
    let Ok(name) = Name::new(text) else { return };
    assert_eq!(name.as_str(), text);
    assert!(!text.is_empty() && text.len() <= NAME_LEN_MAX && text.trim() == text);
    assert!(!text.chars().any(char::is_control) && !text.to_ascii_lowercase().starts_with("bauta1"));
    assert!(matches!(Target::parse(text), Ok(Target::Name(same)) if same == name));
    assert!(text.parse::<ContentLink>().is_err());
}

/// Checks one input. With `fault`, as it would be where a reader knows better what the last character must have been.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    if script.byte() & 1 == 0 {
        let text = String::from_utf8_lossy(script.rest());
        link(&text);
        key(&text);
        name(&text);
        return;
    }
    let text = &kept()[script.below(kept().len())];
    let mut bytes = text.clone().into_bytes();
    let changes = script.byte() % 4;
    for _ in 0..changes {
        let at = script.below(bytes.len());
        bytes[at] = script.pick(LETTERS);
    }
    let changed = String::from_utf8(bytes).expect("letters of ASCII");
    let mut read = changed.clone();
    if fault {
        read.replace_range(text.len() - 1.., &text[text.len() - 1..]);
    }
    let is_taken = link(&read) || key(&read);
    // Up to three wrong characters never make another text that is right: the checksum's distance is four and more at these lengths. What
    // is cut off as space at an end is one wrong character, too.
    assert_eq!(is_taken, changed == *text);
}
