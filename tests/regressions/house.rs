//! Rules that hold everywhere: text, and tables.

use std::path::Path;

use bauta::content::{AuthorKey, ContentLink, FileName, Name, Target, check_path};
use bauta::dht::denylist::Denylist;
use bauta::record::Locator;
use bauta::wire::contact::Contact;
use bauta::wire::hex;

use super::relays::{identity, network, relay};

/// TROVE-2026-024 (Arti): a text from the network was cut at a byte that was no start of a character, and the task that read it ended. Here a line of a
/// list, a link, a name in a folder or an address would end a relay or a command.
#[test]
fn regression_no_text_is_cut_within_a_character() {
    let link = ContentLink::new(&network(), Locator::of_author(&identity(1), b"label").expect("short")).to_string();
    let key = AuthorKey::Open(identity(2)).to_text().to_string();
    let texts = [
        link,
        key,
        Contact::from(&relay(1)).to_string(),
        hex::encode(&[0xab; 20]),
        hex::encode(&[0xab; 32]),
        "a name that people say".to_owned(),
        "folder/below/file.txt".to_owned(),
        "com1.txt".to_owned(),
        "# a remark".to_owned(),
    ];
    let wide = ["\u{ac}", "\u{fffd}", "\u{1f3ad}", "e\u{301}", "\u{202e}"];
    for text in &texts {
        for at in 0..=text.len() {
            for (wide, replaced) in wide.iter().flat_map(|wide| (0..5).map(move |replaced| (wide, replaced))) {
                let rest = text.get(at + replaced..).unwrap_or_default();
                let changed = format!("{}{wide}{rest}", &text[..at]);
                read_as_everything(&changed);
                // Cut short, too.
                read_as_everything(&format!("{}{wide}", &text[..at]));
            }
        }
    }
}

fn read_as_everything(text: &str) {
    assert!(text.parse::<ContentLink>().is_err());
    assert!(text.parse::<AuthorKey>().is_err());
    assert!(text.parse::<Contact>().is_err());
    assert!(hex::decode::<20>(text).is_err() && hex::decode::<32>(text).is_err());
    // These may take it.
    let _ = (Name::new(text), Target::parse(text), FileName::new(text), check_path(text), Denylist::parse(text));
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// CVE-2021-34549 (Tor): a table of circuits hashed numbers that peers choose without a secret, so that a peer could make all of its entries fall
/// together and every look at it slow. Here tables that peers fill are trees, or hashed under a key of the process: the library's hash maps are in
/// no source file, and refused by the linter where they would come in.
#[test]
fn regression_no_table_hashes_what_a_peer_chooses_without_a_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    assert!(files.len() > 100, "{}", files.len());
    let unkeyed = ["HashMap", "HashSet", "DefaultHasher", "BuildHasher"];
    let found: Vec<_> = files.iter().filter(|(_, text)| unkeyed.iter().any(|word| text.contains(word))).collect();
    assert!(found.is_empty(), "{:?}", found.iter().map(|(path, _)| path).collect::<Vec<_>>());
    let lints = std::fs::read_to_string(root.join("clippy.toml")).unwrap();
    assert!(lints.contains("std::collections::HashMap") && lints.contains("std::collections::HashSet"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("disallowed_types = \"deny\""));
}
