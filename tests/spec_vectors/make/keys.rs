//! Keys as text, and names that people say.

use bauta::content::{AuthorKey, ContentLink, Name};
use bauta::crypto::aead::Key;
use bauta::crypto::keys::{IdentitySecret, NodeKey};
use bauta::crypto::sealed::SealedSecret;
use bauta::crypto::stretch::stretch;
use bauta::keyspace::Id;
use bauta::wire::network::Network;
use bech32::primitives::iter::Fe32IterExt;

use super::{Field, Fields, Given, VectorFile, bytes, identity, made, network, text};

pub(super) fn files() -> Vec<VectorFile> {
    vec![author_keys(), key_files(), names()]
}

const PASSPHRASE: &str = "correct horse größe";

fn sealed() -> SealedSecret {
    let (salt, nonce): ([u8; 32], [u8; 24]) = (made("key salt"), made("key nonce"));
    SealedSecret::seal(&identity("author"), PASSPHRASE.as_bytes(), &mut Given::new(&[&salt, &nonce])).unwrap()
}

/// Opens, but to the key of somebody else than the one whose public key stands beside it.
fn sealed_of_another() -> SealedSecret {
    let SealedSecret { salt, nonce, .. } = sealed();
    let (public, mut text) = (identity("other author").public(), *identity("author").to_bytes());
    let key = Key::new(*stretch(PASSPHRASE.as_bytes(), &salt).unwrap());
    let tag = key.seal_extended(&nonce, &[b"bauta/1 sealed key", &public.0[..]].concat(), &mut text);
    SealedSecret { public, salt, nonce, text, tag }
}

fn encoded(prefix: &str, raw: &[u8]) -> String {
    bech32::encode::<bech32::Bech32m>(bech32::Hrp::parse(prefix).unwrap(), raw).unwrap()
}

/// The text of these bytes with a bit set that fills none.
fn with_bits_behind(raw: &[u8]) -> String {
    use bech32::primitives::iter::ByteIterExt;
    let mut groups: Vec<bech32::Fe32> = raw.iter().copied().bytes_to_fes().collect();
    assert_ne!(raw.len() * 8 % 5, 0);
    let last = groups.pop().unwrap();
    groups.push(bech32::Fe32::try_from(last.to_u8() | 1).unwrap());
    let hrp = bech32::Hrp::parse("bautakey").unwrap();
    groups.into_iter().with_checksum::<bech32::Bech32m>(&hrp).chars().collect()
}

fn author_keys() -> VectorFile {
    let (secret, sealed) = (identity("author"), sealed());
    let fields = |secret: &IdentitySecret, key: &AuthorKey| -> Fields {
        vec![
            ("seed", bytes(*secret.to_bytes())),
            ("author_key", bytes(secret.public().0)),
            ("text", text(&key.to_text())),
        ]
    };
    let (open, closed) = (AuthorKey::Open(secret.clone()), AuthorKey::Sealed(sealed.clone()));
    let mut of_sealed = fields(&secret, &closed);
    of_sealed.extend([
        ("passphrase", text(PASSPHRASE)),
        ("salt", bytes(sealed.salt)),
        ("nonce", bytes(sealed.nonce)),
        ("ciphertext", bytes(sealed.text)),
        ("tag", bytes(sealed.tag)),
    ]);
    let (no_key, later) =
        ("not a key: a character is wrong or missing (keys begin with bautakey1)", "key of a later version");
    let refused =
        |name: &str, key: &str, error: &str| vec![("name", text(name)), ("text", text(key)), ("error", text(error))];
    let opened = |name: &str, key: SealedSecret, passphrase: &str| {
        let mut fields = refused(name, &AuthorKey::Sealed(key).to_text(), "failed to authenticate");
        fields.insert(2, ("passphrase", text(passphrase)));
        fields
    };
    let (raw, raw_sealed) = (open.to_bytes(), closed.to_bytes());
    let good = open.to_text();
    let changed = format!("{}{}", &good[..good.len() - 1], if good.ends_with('q') { 'p' } else { 'q' });
    let bech32_not_m = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("bautakey").unwrap(), &raw).unwrap();
    let other_public = SealedSecret { public: NodeKey(made("public")), ..sealed.clone() };
    VectorFile {
        name: "author_keys",
        description: "Keys of authors as text, open and sealed under a passphrase. What is refused with a passphrase is a key as text, and does not open.",
        spec: &["content.md §8", "crypto.md §8"],
        cases: vec![fields(&secret, &open), of_sealed],
        invalid: vec![
            refused("the last character", &changed, no_key),
            refused("one character less", &good[..good.len() - 1], no_key),
            refused("both cases", &good.replacen("bauta", "Bauta", 1), no_key),
            refused("the prefix of links", &encoded("bauta", &raw), no_key),
            refused("Bech32, not Bech32m", &bech32_not_m, no_key),
            refused("bits behind the last byte", &with_bits_behind(&raw), no_key),
            refused("version 2", &encoded("bautakey", &[&[2], &raw[1..]].concat()), later),
            refused("kind 2", &encoded("bautakey", &[&[1, 2], &raw[2..]].concat()), later),
            refused("open, a byte less", &encoded("bautakey", &raw[..33]), no_key),
            refused("open, a byte behind", &encoded("bautakey", &[&raw[..], &[0]].concat()), no_key),
            refused("sealed, a byte less", &encoded("bautakey", &raw_sealed[..137]), no_key),
            refused("sealed, a byte behind", &encoded("bautakey", &[&raw_sealed[..], &[0]].concat()), no_key),
            opened("another passphrase", sealed, "correct horse grösse"),
            opened("another public key", other_public, PASSPHRASE),
            opened("a seed that gives another public key", sealed_of_another(), PASSPHRASE),
        ],
    }
}

fn key_files() -> VectorFile {
    // A byte string as postcard writes it: none is of 128 bytes or more but the sealed one of 138.
    let content = |key: &AuthorKey| match &key.to_bytes()[..] {
        raw if raw.len() < 0x80 => [&[u8::try_from(raw.len()).unwrap()][..], raw].concat(),
        raw => [&[0x8a, 1][..], raw].concat(),
    };
    let case = |name: &str, key: &AuthorKey| {
        vec![
            ("file", text(name)),
            ("text", text(&key.to_text())),
            ("bytes", bytes(super::values::state_file(name, &content(key)))),
        ]
    };
    let open = AuthorKey::Open(identity("author"));
    let raw = open.to_bytes();
    let refused = |name: &str, content: &[u8]| {
        let file = super::values::state_file("work", content);
        let error = text("written by another version of bauta");
        vec![("name", text(name)), ("file", text("work")), ("bytes", bytes(file)), ("error", error)]
    };
    VectorFile {
        name: "key_files",
        description: "Files of a keyring, with the key as text.",
        spec: &["state.md §2", "state.md §6"],
        cases: vec![case("work", &open), case("a-b_c.1", &AuthorKey::Sealed(sealed()))],
        invalid: vec![
            refused("a byte of the key less", &[&[33][..], &raw[..33]].concat()),
            refused("a byte behind the key", &[&[35][..], &raw, &[0]].concat()),
            refused("a byte behind the string", &[&[34][..], &raw, &[0]].concat()),
            refused("a length that is too great", &[&[35][..], &raw].concat()),
            refused("a key of version 2", &[&[34, 2][..], &raw[1..]].concat()),
        ],
    }
}

fn names() -> VectorFile {
    let case = |network: &Network, word: &str| {
        let name = Name::new(word).unwrap();
        let (author, locator) = (name.author(network).unwrap(), name.locator(network).unwrap());
        let locations = locator.locations().map(|Id(location)| bytes(location));
        vec![
            ("network_id", bytes(network.id)),
            ("said", text(word)),
            ("seed", bytes(*author.to_bytes())),
            ("author_key", bytes(author.public().0)),
            ("locations", Field::List(locations.into())),
            ("link", text(&ContentLink::new(network, locator).to_string())),
        ]
    };
    let refused = |name: String, word: &str, error: &str| {
        vec![("name", text(&name)), ("said", text(word)), ("error", text(error))]
    };
    let odd = "a name has no control character, no mark of writing direction, and no space at its ends";
    let like_a_link = "a name does not begin with bauta1, as links do";
    let first = [
        ("nothing", String::new(), "a name has at least one character"),
        ("65 bytes", "n".repeat(65), "a name has at most 64 bytes"),
        ("33 letters of 66 bytes", "ö".repeat(33), "a name has at most 64 bytes"),
        ("begun as a link", "bauta1x".to_owned(), like_a_link),
        ("begun as a link, in capitals", "BaUTA1".to_owned(), like_a_link),
        ("a space in front", " a".to_owned(), odd),
        ("a space behind", "a ".to_owned(), odd),
        ("a wide space behind", "a\u{3000}".to_owned(), odd),
    ];
    // The first and last of each range that is refused.
    let marks = [0x00, 0x1f, 0x7f, 0x9f, 0x61c, 0x200e, 0x200f, 0x202a, 0x202e, 0x2066, 0x2069];
    let marks = marks.map(|code| char::from_u32(code).unwrap());
    let marks = marks.map(|mark| refused(format!("U+{:04X}", u32::from(mark)), &format!("a{mark}b"), odd));
    VectorFile {
        name: "names",
        description: "Names that people say: the author's seed that follows in a network, and what that author published under the empty label.",
        spec: &["content.md §7", "crypto.md §8"],
        cases: vec![
            case(&network(), "Café"),
            case(&Network::named("demo", 0), "Café"),
            case(&network(), "Cafe\u{301}"),
            case(&network(), &"n".repeat(64)),
            case(&network(), "bauta and 1 space"),
        ],
        invalid: first
            .into_iter()
            .map(|(what, word, error)| refused(what.to_owned(), &word, error))
            .chain(marks)
            .collect(),
    }
}
